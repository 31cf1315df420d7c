package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
)

// Level is what this release can read and write: kinds of entries, members of them, what snapshots keep beside the user's
// state. Each release that adds to these has a higher one. Servers tell theirs in the handshake, and a server has nothing
// logged that a member can't read (package node, levels.go).
//
//	0  builds before v0.1.0
//	1  v0.1.0: SetVoter, MoveServer, nonvoter in AddServer, id in RemoveServer
//	2  v0.2.0: Configure
//
// So whatever is new needs a level in [System.Level], or in a test like it of its own. What an older release would read
// as something else must be a kind or a member that it does not know: it refuses those ([UnknownError]).
const Level = 2

// FirstLevel is that of the first release. What a server can read that has not told its level is at least that.
const FirstLevel = 1

// LeaseLevel is that of the first release that knows leases.
const LeaseLevel = 2

// Level is the lowest that can read the command.
func (s *System) Level() int {
	switch {
	case s.Configure != nil:
		return LeaseLevel
	case s.SetVoter != nil, s.MoveServer != nil:
		return 1
	case s.AddServer != nil && s.AddServer.Nonvoter:
		return 1
	case s.RemoveServer != nil && s.RemoveServer.ID != 0:
		return 1
	}
	return 0
}

// UnknownError says that JSON of the cluster is in order and holds something that this release does not know: a newer
// one has written it. To pass over it would make this server's state another than the others'.
type UnknownError struct {
	What string // the kind or member, quoted
	In   string // what holds it
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("wire: %s has %s, which this release does not know: a newer release has written it, run that one", e.In, e.What)
}

// unmarshalKnown decodes JSON that is already known to decode into a value of v's type. Members that it has no place for
// are an [UnknownError].
func unmarshalKnown(data []byte, v any, in string) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return &UnknownError{What: unknownName(err), In: in}
}

// unknownName is the quoted name in the JSON package's error.
func unknownName(err error) string {
	text := []byte(err.Error())
	from, to := bytes.IndexByte(text, '"'), bytes.LastIndexByte(text, '"')
	if from < 0 || to <= from {
		return "a member"
	}
	return fmt.Sprintf("%.80s", text[from:to+1])
}

// kinds is how many members of s are set: a command of the framework's own has one.
func (s *System) kinds() (n int) {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			n++
		}
	}
	return n
}

// knownMembers returns an [UnknownError] for the first member of a line that no record of this release has.
func knownMembers(line []byte) error {
	return jsonrpc.Members(line, func(name, _ []byte) error {
		switch string(name) {
		case "Header", "Identity", "Snapshot", "HardState", "LogEntries", "crc":
			return nil
		}
		return &UnknownError{What: fmt.Sprintf("%.64q", name), In: "a line of the log"}
	})
}

// ownForm tells whether a line of entries is as this release writes it, without reading through the entries: they are most
// of a log, and all of its lines are read at a start.
func ownForm(line []byte, r *Record, entries []json.RawMessage) bool {
	if len(line) < 1<<10 {
		return false // reading through it is as quick
	}
	bare := Record{HardState: r.HardState, LogEntries: &LogEntries{Prev: r.LogEntries.Prev}}
	head, err := AppendRecord(nil, &bare)
	if err != nil || r.Header != nil || r.Identity != nil || r.Snapshot != nil {
		return false
	}
	head = head[:len(head)-len("]}}")]
	at := len(head) + max(len(entries)-1, 0)
	for _, e := range entries {
		at += len(e)
	}
	if !bytes.HasPrefix(line, head) || at > len(line) {
		return false
	}
	rest, closed := bytes.CutPrefix(line[at:], []byte("]}"))
	return closed && (string(rest) == "}" || bytes.HasPrefix(rest, []byte(`,"crc":"`)) && len(rest) == len(`,"crc":"12345678"}`))
}
