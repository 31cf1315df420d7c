package sim

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"io"
	"strconv"
	"strings"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// keyValue is the machine of the simulated servers: a map from a few keys to strings, and a version that counts the
// commands, and all else that changes it. Inputs and outputs are JSON strings of words:
//
//	"ID put KEY VALUE", "ID append KEY VALUE", "ID cas KEY OLD NEW"   → "VERSION OLD", commands
//	"ID get KEY"                                                      → "VERSION VALUE", any kind
//	"ID bad"                                                          → refused before it is logged
//
// The value of a key without one is "-". Hash is over the history of all commands. More of them are in timed.go.
type keyValue struct {
	s        *server
	state    keyValueState
	captured bool         // and not yet written
	at       uint64       // the index of the last command
	parked   map[int]bool // watches that wait, by the request's id
	buf      []byte
}

type keyValueState struct {
	Values  map[string]string
	Version uint64
	Time    int64
	Hash    uint64
	Changed map[string]uint64 `json:",omitempty"` // the version that changed a key last
	Locks   map[string]lock   `json:",omitempty"`
	Alarms  []alarm           `json:",omitempty"`
}

var crcTable = crc64.MakeTable(crc64.ECMA)

func newKeyValue(s *server) *keyValue {
	return &keyValue{s: s, state: keyValueState{Values: map[string]string{}}, parked: map[int]bool{}}
}

// machine is the server's machine, in one of the two forms that the core knows.
func (s *server) machine() machine.Machine {
	if s.w.captures {
		return capturing{s.m}
	}
	return s.m
}

func (m *keyValue) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	words := strings.Split(string(input[1:len(input)-1]), " ")
	id, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, err
	}
	if err := m.checkVersion(ctx, words); err != nil {
		return nil, err
	}
	switch {
	case ctx.Kind == machine.Command:
		return m.command(ctx, id, words, input)
	case words[1] == "watch":
		return m.watch(ctx, id, words)
	case words[1] != "get":
		return nil, fmt.Errorf("%s must be a command", words[1])
	}
	return strconv.FormatUint(m.state.Version, 10) + " " + value(m.state.Values[words[2]]), nil
}

func (m *keyValue) command(ctx *machine.Context, id int, words []string, input json.RawMessage) (any, error) {
	var out string
	var err error
	if isOfValue(words[1]) {
		key := words[2]
		out = value(m.state.Values[key])
		now := transition(out, words)
		if now != out {
			m.state.Values[key] = now
		}
		if m.s.w.extras.rng != nil && words[1] != "get" {
			if now != out {
				if m.state.Changed == nil {
					m.state.Changed = map[string]uint64{}
				}
				m.state.Changed[key] = m.state.Version + 1
			}
			ctx.Wake(key) // also for nothing
			m.s.w.extras.woke(m.s)
		}
	} else if out, err = m.timed(ctx, id, words); err != nil && !strings.HasPrefix(out, "!") {
		return nil, err
	}
	m.advance(ctx, input, out)
	if ctx.Session != 0 {
		m.s.cluster().ledger.calls(m.s, ctx, call{offset: ctx.Offset, session: ctx.Session, id: id})
	}
	output := strconv.FormatUint(m.state.Version, 10) + " " + out
	m.s.cluster().command(m.s, id, ctx.Index, ctx.Offset, m.state.Hash, out, size(output, err))
	return output, err
}

// advance makes a version of what the machine has just done.
func (m *keyValue) advance(ctx *machine.Context, input []byte, out string) {
	m.state.Version++
	at := ctx.Time.UnixMilli()
	if at < m.state.Time {
		m.s.w.fail("%s: applied time goes back from %d to %d at %d.%d", m.s, m.state.Time, at, ctx.Index, ctx.Offset)
	}
	m.state.Time, m.at = at, ctx.Index
	b := m.buf[:0]
	for _, n := range []uint64{ctx.Index, uint64(ctx.Offset), uint64(at), uint64(ctx.Version)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	m.buf = append(append(append(b, input...), ' '), out...)
	m.state.Hash = crc64.Update(m.state.Hash, crcTable, m.buf)
	m.s.still = false
}

// isOfValue tells whether a command or query is about a value.
func isOfValue(verb string) bool {
	return verb == "put" || verb == "append" || verb == "cas" || verb == "get"
}

// transition is what a value becomes.
func transition(old string, words []string) string {
	switch {
	case words[1] == "put":
		return words[3]
	case words[1] == "append":
		return old + "." + words[3]
	case words[1] == "cas" && old == words[3]:
		return words[4]
	}
	return old
}

func value(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Validate implements machine.Validator.
func (m *keyValue) Validate(input json.RawMessage) error {
	if strings.HasSuffix(string(input), ` bad"`) {
		return fmt.Errorf("bad")
	}
	return nil
}

// Snapshot implements machine.Machine.
func (m *keyValue) Snapshot() (json.RawMessage, error) { return m.encode(m.state) }

func (m *keyValue) encode(state keyValueState) (json.RawMessage, error) {
	text, err := json.Marshal(state)
	if err == nil {
		m.s.cluster().state(m.s, state.Version, string(text))
	}
	return text, err
}

// Restore implements machine.Machine.
func (m *keyValue) Restore(snapshot json.RawMessage) error {
	state, err := m.decode(snapshot)
	if err == nil {
		m.set(state)
	}
	return err
}

func (m *keyValue) decode(snapshot []byte) (state keyValueState, err error) {
	if err = json.Unmarshal(snapshot, &state); err == nil {
		m.s.cluster().state(m.s, state.Version, string(snapshot))
	}
	return state, err
}

func (m *keyValue) set(state keyValueState) {
	if state.Version < m.state.Version {
		m.s.w.fail("%s: a snapshot leads back from version %d to %d", m.s, m.state.Version, state.Version)
	}
	m.state = state
}

// capturing is a keyValue whose snapshots are written beside the loop.
type capturing struct{ *keyValue }

// Capture implements machine.Snapshotter.
func (m capturing) Capture() (write func(io.Writer) error, err error) {
	if m.captured {
		m.s.w.fail("%s captures its machine, and has not written what it captured before", m.s)
	}
	m.captured = true
	state := m.state.clone()
	return func(w io.Writer) error {
		if !m.captured {
			m.s.w.fail("%s writes what it captured a second time", m.s)
		}
		m.captured = false
		text, err := m.encode(state)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}, nil
}

// Load implements machine.Snapshotter.
func (m capturing) Load(r io.Reader) (install func(), err error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	state, err := m.decode(text)
	return func() { m.set(state) }, err
}
