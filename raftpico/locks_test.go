package raftpico_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
)

// locks is a machine for tests: locks that are waited for in turn, expire, and belong to sessions; and queries that wait.
//
//	{"Lock":{"Name":"a","For":1000}}   → a handle, when it is held; For is in milliseconds
//	{"Unlock":{"Name":"a","Handle":7}} → true
//	{"Add":1}                          → the sum
//	{"Watch":{"Name":"a","Not":7}}     → the handle that holds a (0: none), as soon as it is not 7
//	{"Sum":{}}                         → the sum
type locks struct {
	Held  map[string]*lock
	Queue map[string][]claim
	Sum   int
	Last  uint64 // handle
}

type lock struct {
	Handle  uint64
	Until   int64
	Session uint64
	Ticket  machine.Ticket
}

type claim struct {
	Ticket  machine.Ticket
	For     int64
	Session uint64
}

type lockInput struct {
	Lock *struct {
		Name string
		For  int64
	}
	Unlock *struct {
		Name   string
		Handle uint64
	}
	Watch *struct {
		Name string
		Not  uint64
	}
	Add *int
	Sum *struct{}
}

func newLocks() machine.Machine {
	return machine.JSON(&locks{Held: map[string]*lock{}, Queue: map[string][]claim{}})
}

func (m *locks) Apply(ctx *machine.Context, in lockInput) (any, error) {
	switch {
	case in.Watch != nil:
		var handle uint64
		if l := m.Held[in.Watch.Name]; l != nil {
			handle = l.Handle
		}
		if handle == in.Watch.Not {
			ctx.Wait(in.Watch.Name)
		}
		return handle, nil
	case in.Sum != nil:
		return m.Sum, nil
	case ctx.Kind != machine.Command:
		return nil, errors.New("this is a command")
	case in.Add != nil:
		m.Sum += *in.Add
		return m.Sum, nil
	case in.Lock != nil:
		if in.Lock.For <= 0 || in.Lock.For > 1e9 {
			return nil, fmt.Errorf("a lock can't last %d ms", in.Lock.For)
		}
		m.Queue[in.Lock.Name] = append(m.Queue[in.Lock.Name], claim{ctx.Defer(), in.Lock.For, ctx.Session})
		m.grant(ctx, in.Lock.Name)
		return nil, nil
	case in.Unlock != nil:
		l := m.Held[in.Unlock.Name]
		if l == nil || l.Handle != in.Unlock.Handle {
			return nil, errors.New("not yours")
		}
		m.free(ctx, in.Unlock.Name)
		return true, nil
	}
	return nil, errors.New("what?")
}

func (m *locks) free(ctx *machine.Context, name string) {
	delete(m.Held, name)
	ctx.Wake(name)
	m.grant(ctx, name)
}

func (m *locks) grant(ctx *machine.Context, name string) {
	q := m.Queue[name]
	if m.Held[name] != nil || len(q) == 0 {
		return
	}
	c := q[0]
	if m.Queue[name] = q[1:]; len(q) == 1 {
		delete(m.Queue, name)
	}
	m.Last++
	m.Held[name] = &lock{m.Last, ctx.Time.UnixMilli() + c.For, c.Session, c.Ticket}
	ctx.Answer(c.Ticket, m.Last, nil)
	ctx.Wake(name)
}

func (m *locks) names() []string {
	var names []string
	for name := range m.Held {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (m *locks) NextTimer() (at time.Time) {
	for _, l := range m.Held {
		if end := time.UnixMilli(l.Until); at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at
}

func (m *locks) OnTimer(ctx *machine.Context) {
	for _, name := range m.names() {
		if m.Held[name].Until <= ctx.Time.UnixMilli() {
			m.free(ctx, name)
		}
	}
}

// OnAbandon takes out of the line who has gone, or gives what it was given to the next one.
func (m *locks) OnAbandon(ctx *machine.Context, t machine.Ticket) {
	for name, q := range m.Queue { // a ticket is in one line
		if q = slices.DeleteFunc(q, func(c claim) bool { return c.Ticket == t }); len(q) == 0 {
			delete(m.Queue, name)
		} else {
			m.Queue[name] = q
		}
	}
	for _, name := range m.names() {
		if l := m.Held[name]; l.Ticket == t {
			m.free(ctx, name)
		}
	}
}

func (m *locks) OnSessionEnd(ctx *machine.Context, id uint64) {
	for name, q := range m.Queue {
		if q = slices.DeleteFunc(q, func(c claim) bool { return c.Session == id }); len(q) == 0 {
			delete(m.Queue, name)
		} else {
			m.Queue[name] = q
		}
	}
	for _, name := range m.names() {
		if m.Held[name].Session == id {
			m.free(ctx, name)
		}
	}
}
