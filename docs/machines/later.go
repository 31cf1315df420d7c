package main

import (
	"errors"
	"time"

	"github.com/raftpico/go/machine"
)

// What happens without a command, and what waits for it.

// NextTimer tells when the first lock is free again, or the first client leaves a line. NB: It looks at all of them, each
// time. A machine with thousands keeps them in order of time.
func (m *locks) NextTimer() (next time.Time) {
	for _, h := range m.Held {
		next = earlier(next, h.Until)
		for _, w := range h.Queue {
			next = earlier(next, w.Until)
		}
	}
	return next
}

// OnTimer takes those out of the lines who have waited long enough, and frees the locks whose time is over.
func (m *locks) OnTimer(ctx *machine.Context) {
	for _, name := range m.names() {
		m.leave(ctx, name, func(w waiter) bool { return over(ctx, w.Until) })
		if over(ctx, m.Held[name].Until) {
			m.free(ctx, name)
		}
	}
}

// OnAbandon takes a client out of its line that has gone, or frees the lock that it has not heard of.
func (m *locks) OnAbandon(ctx *machine.Context, t machine.Ticket) {
	for _, name := range m.names() {
		m.leave(ctx, name, func(w waiter) bool { return w.Ticket == t })
		if m.Held[name].Ticket == t {
			m.free(ctx, name)
		}
	}
}

// OnSessionEnd frees the session's locks, and takes its clients out of the lines.
func (m *locks) OnSessionEnd(ctx *machine.Context, id uint64) {
	for _, name := range m.names() {
		m.leave(ctx, name, func(w waiter) bool { return w.Session == id })
		if m.Held[name].Session == id {
			m.free(ctx, name)
		}
	}
}

// watch waits until somebody else, or nobody, holds a lock.
func (m *locks) watch(ctx *machine.Context, r request) (any, error) {
	if ctx.Kind == machine.Command {
		return nil, errors.New("a watch must be a Query or a LocalQuery")
	}
	now := m.holder(r.Name)
	if now == r.Token {
		ctx.Wait(r.Name)
	}
	return now, nil
}

// Version is 1 since there is Extend, and locks last an hour at most.
func (*locks) Version() int { return 1 }

// Needs keeps Extend away from servers that do not know it.
func (*locks) Needs(in machine.Union) int {
	if in.Tag == "Extend" {
		return 1
	}
	return 0
}
