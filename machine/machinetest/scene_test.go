package machinetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/raftpico/go/machine"
)

// scene is a map of strings to numbers. Each function, where not nil, replaces a correct method.
type scene struct {
	State map[string]int
	Extra json.RawMessage // for what a fault needs
	Line  []machine.Ticket
	calls int // not part of the state

	apply      func(s *scene, ctx *machine.Context, in string) (any, error)
	snapshot   func(s *scene) (json.RawMessage, error)
	restore    func(s *scene, b json.RawMessage) error
	validate   func(s *scene, in string) error
	next       func(s *scene) time.Time
	timer      func(s *scene, ctx *machine.Context)
	sessionEnd func(s *scene, id uint64)
	abandon    func(s *scene, ctx *machine.Context, t machine.Ticket)
}

func (s scene) machine() machine.Machine {
	s.State = map[string]int{}
	return &s
}

func (s *scene) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	var in string
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, errors.New("not a string")
	}
	if s.apply != nil {
		return s.apply(s, ctx, in)
	}
	if ctx.Kind == machine.Command {
		s.State[in]++
	}
	return s.State[in], nil
}

func (s *scene) Snapshot() (json.RawMessage, error) {
	if s.snapshot != nil {
		return s.snapshot(s)
	}
	return json.Marshal(s)
}

func (s *scene) Restore(b json.RawMessage) error {
	if s.restore != nil {
		return s.restore(s, b)
	}
	s.State, s.Extra, s.Line = map[string]int{}, nil, nil
	return json.Unmarshal(b, s)
}

func (s *scene) Validate(input json.RawMessage) error {
	var in string
	if s.validate == nil || json.Unmarshal(input, &in) != nil {
		return nil
	}
	return s.validate(s, in)
}

func (s *scene) NextTimer() time.Time {
	if s.next == nil {
		return time.Time{}
	}
	return s.next(s)
}

func (s *scene) OnTimer(ctx *machine.Context) { s.timer(s, ctx) }

func (s *scene) OnSessionEnd(_ *machine.Context, id uint64) {
	if s.sessionEnd != nil {
		s.sessionEnd(s, id)
	}
}

// abandoner is a scene that hears of abandoned tickets.
type abandoner struct{ *scene }

func (a abandoner) OnAbandon(ctx *machine.Context, t machine.Ticket) { a.abandon(a.scene, ctx, t) }

// inLine makes a scene whose commands wait in line; "a" answers those who do.
func inLine(abandon func(s *scene, ctx *machine.Context, t machine.Ticket)) func() machine.Machine {
	return func() machine.Machine {
		m := onCommand(func(s *scene, ctx *machine.Context, in string) (any, error) {
			if in != "a" {
				s.Line = append(s.Line, ctx.Defer())
				return nil, nil
			}
			for _, t := range s.Line {
				ctx.Answer(t, true, nil)
			}
			s.Line = nil
			return nil, nil
		})()
		m.(*scene).abandon = abandon
		return abandoner{m.(*scene)}
	}
}

// onCommand makes a scene of what a command does after it has counted.
func onCommand(do func(s *scene, ctx *machine.Context, in string) (any, error)) func() machine.Machine {
	return scene{apply: func(s *scene, ctx *machine.Context, in string) (any, error) {
		if ctx.Kind != machine.Command {
			return s.State[in], nil
		}
		s.State[in]++
		return do(s, ctx, in)
	}}.machine
}

// touching writes to its inputs.
type touching struct {
	*scene
	touch func(input json.RawMessage)
}

func (m touching) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	m.touch(input)
	return nil, nil
}

// hidden has a field that JSON leaves out.
type hidden struct {
	Shown int
	total int
}

func (h *hidden) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		h.total += add
	}
	return h.total, nil
}

// needy has a Needs that looks at the state.
type needy struct{ versioned }

func (n *needy) Needs(string) int { return n.Value % 2 }

// growing has a Version that changes.
type growing struct{ counter }

func (g *growing) Version() int { return g.Value }

// badSets are sets with a fault.
type (
	lateSets  struct{ *sets }
	deafSets  struct{ *sets }
	blindSets struct{ *sets }
	staleSets struct{ *sets }
	hastySets struct{ *sets }
)

func (s lateSets) Apply(ctx *machine.Context, in setInput) (any, error) { return s.sets.Apply(ctx, in) }

func (s lateSets) Capture() (func(io.Writer) error, error) {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(s.values) }, nil
}

func (s deafSets) Capture() (func(io.Writer) error, error) {
	b, err := json.Marshal(s.values)
	return func(w io.Writer) error { _, _ = w.Write(b); return nil }, err
}

func (s blindSets) Hash() uint64 { return uint64(len(s.values)) }

// raw makes a Machine of sets with other methods.
func raw(s interface {
	machine.Snapshotter
	machine.Hasher
}, apply func(*machine.Context, setInput) (any, error)) machine.Machine {
	return struct {
		machine.Machine
		machine.Snapshotter
		machine.Hasher
	}{applies(func(ctx *machine.Context, input json.RawMessage) (any, error) {
		var in setInput
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, errors.New("no set")
		}
		return apply(ctx, in)
	}), s, s}
}

// applies is a Machine that its Snapshotter stands in for.
type applies func(*machine.Context, json.RawMessage) (any, error)

func (a applies) Apply(ctx *machine.Context, in json.RawMessage) (any, error) { return a(ctx, in) }
func (applies) Snapshot() (json.RawMessage, error)                            { panic("a Snapshotter is not asked") }
func (applies) Restore(json.RawMessage) error                                 { panic("a Snapshotter is not asked") }

func (s staleSets) Load(r io.Reader) (func(), error) {
	loaded := &sets{}
	install, err := loaded.Load(r)
	return func() { install(); s.values = loaded.values }, err
}

func (s hastySets) Load(r io.Reader) (func(), error) {
	install, err := s.sets.Load(r)
	if err == nil {
		install()
	}
	return func() {}, err
}

// negative has a Version that no server takes.
type negative struct{ counter }

func (*negative) Version() int { return -1 }

// luckyLocks answers anybody.
type luckyLocks struct{ Waiting map[string]machine.Ticket }

func (m *luckyLocks) Apply(ctx *machine.Context, in string) (any, error) {
	if ctx.Kind != machine.Command {
		return len(m.Waiting), nil
	}
	for key, ticket := range m.Waiting {
		if len(m.Waiting) > 2 {
			ctx.Answer(ticket, true, nil)
			delete(m.Waiting, key)
			return nil, nil
		}
	}
	if m.Waiting == nil {
		m.Waiting = map[string]machine.Ticket{}
	}
	m.Waiting[fmt.Sprint(in, ctx.Index, ctx.Offset)] = ctx.Defer()
	return nil, nil
}

// forgetfulLocks answers the one before.
type forgetfulLocks struct {
	Value int
	last  machine.Ticket
}

func (m *forgetfulLocks) Apply(ctx *machine.Context, _ string) (any, error) {
	if ctx.Kind == machine.Command {
		ctx.Answer(m.last, nil, nil)
		m.last = ctx.Defer()
	}
	return nil, nil
}

// forgetfulTimer is due a while, which is no whole number of milliseconds, after each command.
type forgetfulTimer struct {
	Value int
	due   time.Time
}

func (m *forgetfulTimer) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		m.due = ctx.Time.Add(time.Second + time.Nanosecond)
	}
	return nil, nil
}

func (m *forgetfulTimer) NextTimer() time.Time { return m.due }

func (m *forgetfulTimer) OnTimer(ctx *machine.Context) {
	if ctx.Time.Before(m.due) {
		panic("too early")
	}
	m.Value++
	m.due = time.Time{}
}
