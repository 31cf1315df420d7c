package sim

import (
	"fmt"
	"hash/crc64"
	"strconv"
	"strings"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// keyValue is the machine of the simulated servers: a map from a few keys to strings, and a version that counts the
// commands. Inputs and outputs are JSON strings of words:
//
//	"ID put KEY VALUE", "ID append KEY VALUE", "ID cas KEY OLD NEW"   → "VERSION OLD", commands
//	"ID get KEY"                                                      → "VERSION VALUE", any kind
//	"ID bad"                                                          → refused before it is logged
//
// The value of a key without one is "-". Hash is over the history of all commands.
type keyValue struct {
	s     *server
	state keyValueState
}

type keyValueState struct {
	Values  map[string]string
	Version uint64
	Time    int64
	Hash    uint64
}

func newKeyValue(s *server) *keyValue {
	return &keyValue{s, keyValueState{Values: map[string]string{}}}
}

func (m *keyValue) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	words := strings.Fields(strings.Trim(string(input), `"`))
	id, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, err
	}
	if ctx.Kind != machine.Command && words[1] != "get" {
		return nil, fmt.Errorf("%s must be a command", words[1])
	}
	old := value(m.state.Values[words[2]])
	if now := transition(old, words); now != old {
		m.state.Values[words[2]] = now
	}
	if ctx.Kind == machine.Command {
		m.state.Version++
		at := ctx.Time.UnixMilli()
		if at < m.state.Time {
			m.s.w.fail("%s: applied time goes back from %d to %d at %d.%d", m.s, m.state.Time, at, ctx.Index, ctx.Offset)
		}
		m.state.Time = at
		m.state.Hash = crc64.Update(m.state.Hash, crcTable, fmt.Appendf(nil, "%d.%d %d %s %s", ctx.Index, ctx.Offset, at, input, old))
		m.s.w.checks.command(m.s, id, ctx.Index, ctx.Offset, m.state.Hash, old)
	}
	return fmt.Sprintf("%d %s", m.state.Version, old), nil
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

func (m *keyValue) Snapshot() (json.RawMessage, error) { return json.Marshal(m.state) }

func (m *keyValue) Restore(snapshot json.RawMessage) error {
	var state keyValueState
	if err := json.Unmarshal(snapshot, &state); err != nil {
		return err
	}
	if state.Version < m.state.Version {
		m.s.w.fail("%s: a snapshot leads back from version %d to %d", m.s, m.state.Version, state.Version)
	}
	m.state = state
	return nil
}
