// Package wire is the one JSON form of Raft data, for the disk and the network alike.
//
// # Records
//
// The log file is JSON Lines; a line is a [Record], which names what it holds by its members:
//
//	{"Header":{"format":1,"instance":"…"},"crc":"9d3f02c1"}
//	{"Identity":{"cluster_id":"…","key":"…","node_id":5},"crc":"…"}
//	{"Snapshot":{"last_included":{"term":1,"index":7},"voters":[1],"learners":[5],"time":0,"machines":{"system":{…},"user":{…}}},"crc":"…"}
//	{"HardState":{"term":2,"vote":1,"commit":9},"LogEntries":{"prev":{"term":1,"index":7},"entries":[…]},"crc":"…"}
//
// The crc is package storage's; this package neither writes nor reads it.
//
// # Entries
//
// An entry is one of
//
//	{"StartTerm":2}                                   opens a term: the empty entry of a new leader
//	{"ConfChange":{"AddLearner":5}}                   also AddVoter and Remove: a step of the Raft configuration
//	{"Empty":2}                                       an empty entry inside its term 2
//	{"from":5,"boot":"k3x9","seq":1017,"time":1795258645723,"commands":[{"Apply":…},…]}
//
// Entries do not repeat their term and index: both follow from prev, the place before the first of them, and from
// the StartTerm that opens each term. The last form is a [Batch]; its bytes are the Data of the raftpb entry.
//
// # Messages
//
// A [Message] is what one server sends another after the handshake; see message.go.
package wire

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
)

// Format is the version of the log file that this package writes and the only one it reads.
const Format = 1

// EntryID is the place of an entry: no two entries of a cluster share it (Raft paper §5.3, Log Matching).
type EntryID struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// Header opens every log file. Instance is drawn at random when the file is created: a wiped server comes back with
// another one, and so can't pass for what it was.
type Header struct {
	Format   int    `json:"format"`
	Instance string `json:"instance"`
}

// Identity is a server's place in a cluster, durable before its first Raft step. Key is the cluster's secret.
type Identity struct {
	ClusterID string `json:"cluster_id"`
	Key       string `json:"key"`
	NodeID    uint64 `json:"node_id"`
}

// HardState is what Raft must remember across a crash (Raft paper, figure 2), and the commit index: without it, a
// restarted server would fall back to an older configuration.
type HardState struct {
	Term   uint64 `json:"term"`
	Vote   uint64 `json:"vote"`
	Commit uint64 `json:"commit"`
}

// Snapshot is the state that the entries up to LastIncluded made.
type Snapshot struct {
	LastIncluded EntryID  `json:"last_included"`
	Voters       []uint64 `json:"voters"`
	Learners     []uint64 `json:"learners"`
	Time         int64    `json:"time"` // applied time, Unix milliseconds
	Machines     Machines `json:"machines"`
}

// Machines holds the state of the framework's own machine (timeouts, members) and of the user's. The latter may be large:
// mostly it rests in the log file and travels in pieces, and is nil here.
type Machines struct {
	System json.RawMessage `json:"system"`
	User   json.RawMessage `json:"user"`
}

// LogEntries is a run of entries that follows Prev. It replaces whatever a log held behind Prev.
type LogEntries struct {
	Prev    EntryID
	Entries []*raftpb.Entry
}

// Record is one line of the log file. Nil members are absent.
type Record struct {
	Header     *Header
	Identity   *Identity
	Snapshot   *Snapshot
	HardState  *HardState
	LogEntries *LogEntries
}

// SizeOf is a little more than what a record of entries takes, in bytes; little of the others.
func SizeOf(r *Record) int {
	size := 256
	if r.LogEntries != nil {
		for _, e := range r.LogEntries.Entries {
			size += len(e.GetData()) + 64
		}
	}
	return size
}

// AppendRecord appends r as a JSON object, without a newline.
func AppendRecord(dst []byte, r *Record) ([]byte, error) { return AppendRecordBy(appendAll, dst, r) }

// AppendRecordBy is AppendRecord where put appends each entry's data: for a long record it may put dst elsewhere before, and go
// on with an empty one.
func AppendRecordBy(put func(dst, data []byte) []byte, dst []byte, r *Record) ([]byte, error) {
	start := len(dst)
	open := func(name string) {
		sep := byte(',')
		if len(dst) == start {
			sep = '{'
		}
		dst = append(dst, sep, '"')
		dst = append(dst, name...)
		dst = append(dst, '"', ':')
	}
	member := func(name string, v any) error {
		b, err := Marshal(v)
		if err != nil {
			return fmt.Errorf("wire: encode %s: %w", name, err)
		}
		open(name)
		dst = append(dst, b...)
		return nil
	}
	if r.Header != nil {
		if err := member("Header", r.Header); err != nil {
			return nil, err
		}
	}
	if r.Identity != nil {
		if err := member("Identity", r.Identity); err != nil {
			return nil, err
		}
	}
	if r.Snapshot != nil {
		open("Snapshot")
		dst = AppendSnapshot(dst, r.Snapshot)
	}
	if r.HardState != nil {
		open("HardState")
		dst = appendHardState(dst, r.HardState)
	}
	if r.LogEntries != nil {
		open("LogEntries")
		dst = append(dst, `{"prev":`...)
		dst = appendEntryID(dst, r.LogEntries.Prev)
		dst = append(dst, `,"entries":`...)
		var err error
		if dst, err = appendEntries(put, dst, r.LogEntries.Prev, r.LogEntries.Entries); err != nil {
			return nil, err
		}
		dst = append(dst, '}')
	}
	if len(dst) == start {
		return nil, fmt.Errorf("wire: empty record")
	}
	return append(dst, '}'), nil
}

func appendAll(dst, data []byte) []byte { return append(dst, data...) }

// DecodeRecord decodes a line's object. The crc is passed over; other members that it does not know are an [UnknownError].
// The record owns its memory: line may be reused.
func DecodeRecord(line []byte) (*Record, error) {
	if r, ok := decodeShortRecord(line); ok {
		return r, nil
	}
	return decodeAnyRecord(line)
}

func decodeAnyRecord(line []byte) (*Record, error) {
	var raw struct {
		Header     *Header
		Identity   *Identity
		Snapshot   *Snapshot
		HardState  *HardState
		LogEntries *struct {
			Prev    EntryID           `json:"prev"`
			Entries []json.RawMessage `json:"entries"`
		}
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return nil, fmt.Errorf("wire: decode record: %w", err)
	}
	r := &Record{Header: raw.Header, Identity: raw.Identity, Snapshot: raw.Snapshot, HardState: raw.HardState}
	if raw.LogEntries != nil {
		entries, err := decodeEntries(raw.LogEntries.Prev, raw.LogEntries.Entries)
		if err != nil {
			return nil, err
		}
		r.LogEntries = &LogEntries{Prev: raw.LogEntries.Prev, Entries: entries}
	}
	if *r == (Record{}) {
		return nil, fmt.Errorf("wire: a record without a known member")
	}
	if r.Header != nil && r.Header.Format != Format {
		return r, nil // what else is there is none of ours
	}
	if raw.LogEntries != nil && ownForm(line, r, raw.LogEntries.Entries) {
		return r, nil
	}
	return r, knownMembers(line)
}

// AppendSnapshot appends s as JSON. It can't fail: the machines' states are JSON already, without newlines.
func AppendSnapshot(dst []byte, s *Snapshot) []byte {
	if s.Machines.User == nil {
		dst = appendSnapshotMeta(dst, s)
	} else {
		dst = append(AppendSnapshotHead(dst, s), s.Machines.User...)
	}
	return append(dst, SnapshotTail...)
}

// AppendSnapshotHead appends what stands before the user's state.
func AppendSnapshotHead(dst []byte, s *Snapshot) []byte {
	return append(appendSnapshotMeta(dst, s), userOpen...)
}

const (
	systemOpen = `,"machines":{"system":`
	userOpen   = `,"user":`
)

// FindState finds the user's state in the text of a snapshot, of which the beginning up to there will do. It returns -1 if
// that is not there, or not as it is written here. NB: What the sessions keep may look like anything, also like what
// stands before the state. So the framework's part is passed over as a value.
func FindState(text []byte) (offset int) {
	i := bytes.Index(text, []byte(systemOpen)) // before it are numbers
	if i < 0 {
		return -1
	}
	end := jsonrpc.ScanValue(text, i+len(systemOpen), deepest)
	if end < 0 || !bytes.HasPrefix(text[end:], []byte(userOpen)) {
		return -1
	}
	return end + len(userOpen)
}

// SnapshotTail is what stands behind the user's state.
const SnapshotTail = `}}`

func appendSnapshotMeta(dst []byte, s *Snapshot) []byte {
	dst = append(dst, `{"last_included":`...)
	dst = appendEntryID(dst, s.LastIncluded)
	dst = append(dst, `,"voters":`...)
	dst = appendIDs(dst, s.Voters)
	dst = append(dst, `,"learners":`...)
	dst = appendIDs(dst, s.Learners)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, s.Time, 10)
	dst = append(dst, systemOpen...)
	return append(dst, s.Machines.System...)
}

// Metadata is the form in which the Raft library knows the snapshot. Its Data stays empty: the state travels and
// rests beside the library, which would clone it.
func (s *Snapshot) Metadata() *raftpb.Snapshot {
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: &raftpb.ConfState{Voters: s.Voters, Learners: s.Learners, AutoLeave: new(false)},
		Index:     new(s.LastIncluded.Index),
		Term:      new(s.LastIncluded.Term),
	}}
}

// Marshal encodes v without escaping HTML: live, logged and restored bytes are the same.
//
// NB: json.MarshalNoEscape does escape HTML; its name means the compiler's escape analysis.
func Marshal(v any) ([]byte, error) { return json.MarshalWithOption(v, json.DisableHTMLEscape()) }

func appendEntryID(dst []byte, id EntryID) []byte {
	dst = append(dst, `{"term":`...)
	dst = strconv.AppendUint(dst, id.Term, 10)
	dst = append(dst, `,"index":`...)
	dst = strconv.AppendUint(dst, id.Index, 10)
	return append(dst, '}')
}

func appendHardState(dst []byte, h *HardState) []byte {
	dst = append(dst, `{"term":`...)
	dst = strconv.AppendUint(dst, h.Term, 10)
	dst = append(dst, `,"vote":`...)
	dst = strconv.AppendUint(dst, h.Vote, 10)
	dst = append(dst, `,"commit":`...)
	dst = strconv.AppendUint(dst, h.Commit, 10)
	return append(dst, '}')
}

func appendIDs(dst []byte, ids []uint64) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, id, 10)
	}
	return append(dst, ']')
}
