//go:build unix

package torture

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// replay carries a log out anew, by the rules of sessions alone: what a log has several times happens once. It is
// another kvs than that of the servers, and must come to the same state.
type replay struct {
	base    uint64   // index of the entry before entries[0]
	entries []logged // as the file has them so far
	floor   uint64   // index of the snapshot

	revision uint64
	values   map[string]valueAt
	sessions map[uint64]*sessionAt
	again    int // commands that were in the log before
	late     int // commands whose session, or its memory of them, had ended
}

type logged struct {
	Commands []struct {
		Apply   json.RawMessage
		Session *struct{ ID, Seq, Ack uint64 }

		OpenSession  *struct{}
		CloseSession *struct{ ID uint64 }
	}
}

// valueAt is a value with its version, as in kvs's state.
type valueAt struct {
	version uint64
	value   json.RawMessage
}

func (v valueAt) MarshalJSON() ([]byte, error) { return json.Marshal([]any{v.version, v.value}) }

func (v *valueAt) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&v.version, &v.value})
}

// sessionAt is a session: the commands that were carried out, above those of which the client has the answers.
type sessionAt struct {
	acked uint64
	done  map[uint64]bool
}

func newReplay() *replay {
	return &replay{values: map[string]valueAt{}, sessions: map[uint64]*sessionAt{}}
}

// state is the machine's, in the form of kvs.
func (p *replay) state() ([]byte, error) { return json.Marshal([]any{p.revision, p.values}) }

// file reads a log file, and carries it out.
func (p *replay) file(path string) error {
	report, err := raftpico.InspectLog(path, func(line raftpico.LogLine) error {
		if line.Err != nil {
			return line.Err
		}
		return p.line(line.Text)
	})
	if err == nil {
		err = report.Refused
	}
	if err != nil {
		return err
	}
	return p.run()
}

// line takes a line of a log file.
func (p *replay) line(text io.Reader) error {
	var record struct {
		Snapshot *struct {
			At       struct{ Index uint64 } `json:"last_included"`
			Machines struct {
				System struct {
					Sessions []struct {
						ID, Acked uint64
						Outcomes  []struct{ Seq uint64 }
					}
				}
				User json.RawMessage
			}
		}
		LogEntries *struct {
			Prev    struct{ Index uint64 }
			Entries []logged
		}
	}
	if err := json.NewDecoder(text).Decode(&record); err != nil {
		return err
	}
	if s := record.Snapshot; s != nil {
		*p = *newReplay()
		p.base, p.floor = s.At.Index, s.At.Index
		for _, s := range s.Machines.System.Sessions {
			it := &sessionAt{s.Acked, map[uint64]bool{}}
			for _, o := range s.Outcomes {
				it.done[o.Seq] = true
			}
			p.sessions[s.ID] = it
		}
		if string(s.Machines.User) == "{}" { // before the first command
			p.revision, p.values = 0, map[string]valueAt{}
		} else if err := json.Unmarshal(s.Machines.User, &[]any{&p.revision, &p.values}); err != nil {
			return err
		}
	}
	if l := record.LogEntries; l != nil {
		if len(p.entries) == 0 { // some of the log before a snapshot may be kept beside it
			p.base = l.Prev.Index
		}
		p.entries = append(p.entries[:l.Prev.Index-p.base], l.Entries...)
	}
	return nil
}

// run carries out all entries behind the snapshot.
func (p *replay) run() error {
	for i, entry := range p.entries {
		index := p.base + uint64(i) + 1
		if index <= p.floor {
			continue
		}
		for _, c := range entry.Commands {
			switch {
			case c.OpenSession != nil:
				p.sessions[index] = &sessionAt{0, map[uint64]bool{}}
			case c.CloseSession != nil:
				delete(p.sessions, c.CloseSession.ID)
			case c.Apply == nil, c.Session != nil && !p.first(c.Session.ID, c.Session.Seq, c.Session.Ack):
				continue
			default:
				if err := p.apply(c.Apply); err != nil {
					return fmt.Errorf("entry %d: %w", index, err)
				}
			}
		}
	}
	return nil
}

// first tells whether a command of a session is to be carried out.
func (p *replay) first(id, seq, ack uint64) bool {
	s := p.sessions[id]
	if s == nil {
		p.late++
		return false
	}
	s.acked = max(s.acked, ack)
	for done := range s.done {
		if done <= s.acked {
			delete(s.done, done)
		}
	}
	switch {
	case s.done[seq]:
		p.again++
	case seq <= s.acked:
		p.late++
	default:
		s.done[seq] = true
		return true
	}
	return false
}

// apply is what kvs does, as far as it changes something.
func (p *replay) apply(input json.RawMessage) error {
	var in struct {
		Put    []json.RawMessage
		PutIf  []json.RawMessage
		Delete *string
	}
	if input[0] != '{' {
		return nil
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return err
	}
	var key string
	switch {
	case in.Delete != nil:
		delete(p.values, *in.Delete)
		return nil
	case len(in.Put) == 2:
		if err := json.Unmarshal(in.Put[0], &key); err != nil {
			return err
		}
		in.PutIf = in.Put[1:]
	case len(in.PutIf) == 3:
		var version uint64
		if err := json.Unmarshal(in.PutIf[0], &key); err != nil {
			return err
		}
		if err := json.Unmarshal(in.PutIf[1], &version); err != nil || p.values[key].version != version {
			return err
		}
		in.PutIf = in.PutIf[2:]
	default:
		return fmt.Errorf("unknown command %.100s", input)
	}
	p.revision++
	p.values[key] = valueAt{p.revision, in.PutIf[0]}
	return nil
}

// checkReplays holds the logs of servers that have ended against the state of their machines.
func (r *run) checkReplays() (told string) {
	r.t.Helper()
	for _, s := range r.servers {
		p := newReplay()
		require.NoError(r.t, p.file(s.file()), "%v", s)
		replayed, err := p.state()
		require.NoError(r.t, err)
		require.JSONEq(r.t, string(r.final), string(replayed), "%v: the state of its machine, and what its log makes of it", s)
		told += fmt.Sprintf("\n  log of %v: %d entries behind the snapshot, %d commands again, %d late", s,
			p.base+uint64(len(p.entries))-p.floor, p.again, p.late)
	}
	return told
}

// TestReplay holds the replay to what it must tell apart.
func TestReplay(t *testing.T) {
	const (
		open     = `{"commands":[{"OpenSession":{"ttl":3600000}}]}`
		end      = `{"commands":[{"CloseSession":{"id":1}}]}`
		snapshot = `{"Snapshot":{"last_included":{"index":2},"machines":{"system":{"sessions":[` +
			`{"id":1,"acked":1,"outcomes":[{"seq":3,"result":null}]}]},"user":[1,{"k":[1,7]}]}}}`
	)
	put := func(seq, ack, value int) string {
		return fmt.Sprintf(`{"commands":[{"Apply":{"Put":["k",%d]},"Session":{"id":1,"seq":%d,"ack":%d}}]}`, value, seq, ack)
	}
	plain := func(inputs ...string) string {
		return `{"commands":[{"Apply":` + strings.Join(inputs, `},{"Apply":`) + `}]}`
	}
	log := func(prev int, entries ...string) string {
		return fmt.Sprintf(`{"LogEntries":{"prev":{"term":1,"index":%d},"entries":[%s]}}`, prev, strings.Join(entries, ","))
	}
	for name, test := range map[string]struct {
		lines       []string
		state       string
		again, late int
	}{
		"one after the other": {[]string{log(0, open, put(1, 0, 7), put(2, 0, 8))}, `[2,{"k":[2,8]}]`, 0, 0},
		"twice":               {[]string{log(0, open, put(1, 0, 7), put(2, 0, 8), put(1, 0, 7))}, `[2,{"k":[2,8]}]`, 1, 0},
		"late":                {[]string{log(0, open, put(1, 0, 7), put(2, 1, 8), put(1, 0, 7))}, `[2,{"k":[2,8]}]`, 0, 1},
		"no such session":     {[]string{log(0, put(1, 0, 7))}, `[0,{}]`, 0, 1},
		"closed":              {[]string{log(0, open, put(1, 0, 7), end, put(2, 0, 8))}, `[1,{"k":[1,7]}]`, 0, 1},
		"replaced in the log": {[]string{log(0, open, put(1, 0, 7)), log(1, put(1, 0, 8))}, `[1,{"k":[1,8]}]`, 0, 0},
		"a snapshot knows the session": {
			[]string{log(0, open), snapshot, log(2, put(1, 0, 7), put(2, 1, 8), put(3, 1, 9))}, `[2,{"k":[2,8]}]`, 1, 1,
		},
		"kept beside a snapshot": {[]string{snapshot, log(0, open, put(1, 0, 7), put(2, 1, 8))}, `[2,{"k":[2,8]}]`, 0, 0},
		"no session":             {[]string{log(0, plain(`{"Put":["k",7]}`, `{"Put":["k",7]}`), `{"StartTerm":2}`)}, `[2,{"k":[2,7]}]`, 0, 0},
		"PutIf and Delete": {
			[]string{log(0, plain(`{"PutIf":["k",0,7]}`, `{"PutIf":["k",0,8]}`, `{"Put":["x",1]}`, `{"Delete":"x"}`))}, `[2,{"k":[1,7]}]`, 0, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newReplay()
			for _, line := range test.lines {
				require.NoError(t, p.line(strings.NewReader(line)))
			}
			require.NoError(t, p.run())
			state, err := p.state()
			require.NoError(t, err)
			require.JSONEq(t, test.state, string(state))
			require.Equal(t, []int{test.again, test.late}, []int{p.again, p.late})
		})
	}
}
