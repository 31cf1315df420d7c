package machinetest

import (
	"errors"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
)

// locks is a correct machine that does all that a machine may do: locks with an end, clients that wait in order, locks
// that end with their sessions, and queries that wait for a change.
type locks struct {
	Handle  uint64 // the last one given; they only grow
	Changes int
	Held    map[string]*held
}

type held struct {
	Handle  uint64
	Until   time.Time
	Session uint64
	Ticket  machine.Ticket // zero: it did not wait
	Queue   []waiter
}

type waiter struct {
	Ticket  machine.Ticket
	TTL     int
	Session uint64
}

type lockInput struct {
	Lock    string
	TTL     int // milliseconds
	Unlock  string
	Handle  uint64
	Changes int // a query waits until there were more
}

func newLocks() machine.Machine { return machine.JSON(&locks{Held: map[string]*held{}}) }

var lockInputs = []any{
	lockInput{Lock: "a", TTL: 1000}, lockInput{Lock: "b", TTL: 70_000}, lockInput{Lock: "a", TTL: 5},
	lockInput{Unlock: "a", Handle: 1}, lockInput{Unlock: "a", Handle: 2}, lockInput{Unlock: "b", Handle: 2},
	lockInput{}, lockInput{Changes: 1}, lockInput{Changes: 3},
}

func (m *locks) Apply(ctx *machine.Context, in lockInput) (any, error) {
	if ctx.Kind != machine.Command {
		if m.Changes <= in.Changes {
			ctx.Wait("changes")
		}
		return m.Changes, nil
	}
	switch {
	case in.Lock != "" && (in.TTL < 1 || in.TTL > 1e9):
		return nil, errors.New("a lock is held for a while")
	case in.Lock != "" && m.Held[in.Lock] != nil:
		h := m.Held[in.Lock]
		h.Queue = append(h.Queue, waiter{ctx.Defer(), in.TTL, ctx.Session})
		return nil, nil
	case in.Lock != "":
		return m.take(ctx, in.Lock, waiter{TTL: in.TTL, Session: ctx.Session}, nil), nil
	case in.Unlock != "":
		h := m.Held[in.Unlock]
		if h == nil || h.Handle != in.Handle {
			return nil, &machine.Error{Code: 1001, Message: "not yours", Data: in.Handle}
		}
		m.release(ctx, in.Unlock)
		return true, nil
	}
	return nil, errors.New("neither Lock nor Unlock")
}

func (m *locks) take(ctx *machine.Context, name string, w waiter, queue []waiter) uint64 {
	m.Handle++
	m.Held[name] = &held{m.Handle, ctx.Time.Add(time.Duration(w.TTL) * time.Millisecond), w.Session, w.Ticket, queue}
	m.Changes++
	ctx.Wake("changes")
	return m.Handle
}

func (m *locks) release(ctx *machine.Context, name string) {
	queue := m.Held[name].Queue
	delete(m.Held, name)
	m.Changes++
	ctx.Wake("changes")
	if len(queue) > 0 {
		ctx.Answer(queue[0].Ticket, m.take(ctx, name, queue[0], queue[1:]), nil)
	}
}

func (m *locks) names() []string {
	names := []string{}
	for name := range m.Held {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *locks) NextTimer() (next time.Time) {
	for _, h := range m.Held {
		if next.IsZero() || h.Until.Before(next) {
			next = h.Until
		}
	}
	return next
}

func (m *locks) OnTimer(ctx *machine.Context) {
	for _, name := range m.names() {
		if !m.Held[name].Until.After(ctx.Time) {
			m.release(ctx, name)
		}
	}
}

// OnAbandon takes a client out of its line. One that has got the lock by now never heard of it.
func (m *locks) OnAbandon(ctx *machine.Context, t machine.Ticket) {
	for _, name := range m.names() {
		h := m.Held[name]
		h.Queue = slices.DeleteFunc(h.Queue, func(w waiter) bool { return w.Ticket == t })
		if h.Ticket == t {
			m.release(ctx, name)
		}
	}
}

func (m *locks) OnSessionEnd(ctx *machine.Context, id uint64) {
	for _, name := range m.names() {
		h := m.Held[name]
		var queue []waiter
		for _, w := range h.Queue {
			if w.Session == id {
				ctx.Answer(w.Ticket, nil, errors.New("the session has ended"))
				continue
			}
			queue = append(queue, w)
		}
		if h.Queue = queue; h.Session == id {
			m.release(ctx, name)
		}
	}
}
