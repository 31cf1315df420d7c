package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
)

// locks are named locks, each held by one client at a time. Its input is one of
//
//	{"Lock":{"Name":"door","For":30000,"Wait":5000}}  → 7, the lock's token, when it is free   Command only
//	{"Unlock":{"Name":"door","Token":7}}              → true                                   Command only
//	{"Extend":{"Name":"door","Token":7,"For":30000}}  → true, since version 1                  Command only
//	{"Holder":{"Name":"door"}}                        → the token that holds it now, 0: nobody's
//	{"Watch":{"Name":"door","Token":7}}               → the same, as soon as it is not 7       no Command
//
// Those who wait for a lock get it in turn, or error 1002 after Wait milliseconds. It is free again when it is unlocked,
// after For milliseconds, or when the session has ended in which it was locked. Who waits no longer leaves the line, and
// loses the lock if its token has not reached it. Tokens only grow.
type locks struct {
	Last uint64           // the token given last
	Held map[string]*held // by name; a lock that is not there is free
}

// held is a lock that somebody holds.
type held struct {
	Token   uint64
	Until   time.Time
	Session uint64         // 0: none
	Ticket  machine.Ticket // of the Lock
	Queue   []waiter
}

// waiter is a Lock that is not answered yet.
type waiter struct {
	Ticket  machine.Ticket
	Until   time.Time // then it leaves the line
	For     int64     // milliseconds
	Session uint64
}

// request is the value of each operation.
type request struct {
	Name  string
	Token uint64 `json:",omitzero"`
	For   int64  `json:",omitzero"` // milliseconds: how long the lock is held
	Wait  int64  `json:",omitzero"` // milliseconds: how long Lock may stay in line; 0: not at all
}

// errTaken is the answer to a Lock that has not got it.
var errTaken = &machine.Error{Code: 1002, Message: "Held by another"}

const (
	hour = 3_600_000 // milliseconds
	day  = 24 * hour
)

func newLocks() machine.Machine { return machine.JSON(&locks{Held: map[string]*held{}}) }

// Apply carries out one operation.
func (m *locks) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	switch in.Tag {
	case "Holder", "Watch":
	case "Lock", "Unlock", "Extend":
		if ctx.Kind != machine.Command {
			return nil, fmt.Errorf("%s must be a Command, not a %s", in.Tag, ctx.Kind)
		}
	default:
		return nil, fmt.Errorf("unknown operation %.32q", in.Tag)
	}
	var r request
	if err := in.Decode(&r); err != nil {
		return nil, err
	}
	switch {
	case in.Tag == "Holder":
		return m.holder(r.Name), nil
	case in.Tag == "Watch":
		return m.watch(ctx, r)
	case in.Tag != "Unlock" && (r.For < 1 || r.For > day):
		return nil, errors.New("a lock is held for 1 ms to a day")
	case in.Tag == "Lock" && ctx.Version >= 1 && r.For > hour:
		return nil, errors.New("since version 1, a lock is held for an hour at most, and extended")
	case r.Wait < 0 || r.Wait > hour:
		return nil, errors.New("nobody waits longer than an hour")
	case in.Tag == "Lock":
		return m.lock(ctx, r)
	case m.holder(r.Name) != r.Token || r.Token == 0:
		return nil, &machine.Error{Code: 1001, Message: "Not the holder", Data: m.holder(r.Name)}
	case in.Tag == "Unlock":
		m.free(ctx, r.Name)
	case in.Tag == "Extend":
		m.Held[r.Name].Until = after(ctx, r.For)
	}
	return true, nil
}

// lock puts a client in line, and answers when it is its turn.
func (m *locks) lock(ctx *machine.Context, r request) (any, error) {
	h := m.Held[r.Name]
	if h != nil && r.Wait == 0 {
		return nil, errTaken
	}
	w := waiter{ctx.Defer(), after(ctx, r.Wait), r.For, ctx.Session}
	if h != nil {
		h.Queue = append(h.Queue, w)
	} else {
		m.give(ctx, r.Name, w, nil)
	}
	return nil, nil
}

// give makes w the holder of a lock, and answers it.
func (m *locks) give(ctx *machine.Context, name string, w waiter, queue []waiter) {
	m.Last++
	m.Held[name] = &held{m.Last, after(ctx, w.For), w.Session, w.Ticket, queue}
	ctx.Answer(w.Ticket, m.Last, nil)
	ctx.Wake(name)
}

// free takes a lock from its holder, and gives it to the next in line who still waits.
func (m *locks) free(ctx *machine.Context, name string) {
	m.leave(ctx, name, func(w waiter) bool { return over(ctx, w.Until) })
	queue := m.Held[name].Queue
	delete(m.Held, name)
	ctx.Wake(name)
	if len(queue) > 0 {
		m.give(ctx, name, queue[0], queue[1:])
	}
}

// leave takes clients out of a line, and tells them.
func (m *locks) leave(ctx *machine.Context, name string, leaves func(waiter) bool) {
	h := m.Held[name]
	h.Queue = slices.DeleteFunc(h.Queue, func(w waiter) bool {
		if leaves(w) {
			ctx.Answer(w.Ticket, nil, errTaken)
		}
		return leaves(w)
	})
}

// after is the time some milliseconds from now.
func after(ctx *machine.Context, ms int64) time.Time {
	return ctx.Time.Add(time.Duration(ms) * time.Millisecond)
}

// over tells whether a time has come.
func over(ctx *machine.Context, at time.Time) bool { return !at.After(ctx.Time) }

// earlier is the earlier of two times. A zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// holder is the token that holds a lock, or 0.
func (m *locks) holder(name string) uint64 {
	if h := m.Held[name]; h != nil {
		return h.Token
	}
	return 0
}

// names are the names of what is held, sorted: commands must not depend on the order of a map.
func (m *locks) names() []string { return slices.Sorted(maps.Keys(m.Held)) }
