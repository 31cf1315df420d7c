package main

import (
	"errors"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
)

// What happens without a command, and what waits for it.

// NextTimer tells when the first lock is free again. NB: It looks at all locks, each time. A machine with thousands of
// them keeps them in order of time.
func (m *locks) NextTimer() (next time.Time) {
	for _, h := range m.Held {
		if next.IsZero() || h.Until.Before(next) {
			next = h.Until
		}
	}
	return next
}

// OnTimer frees the locks whose time is over.
func (m *locks) OnTimer(ctx *machine.Context) {
	for _, name := range m.names() {
		if !m.Held[name].Until.After(ctx.Time) {
			m.free(ctx, name)
		}
	}
}

// OnSessionEnd frees the session's locks, and takes its clients out of the lines.
func (m *locks) OnSessionEnd(ctx *machine.Context, id uint64) {
	for _, name := range m.names() {
		h := m.Held[name]
		h.Queue = slices.DeleteFunc(h.Queue, func(w waiter) bool {
			if w.Session == id {
				ctx.Answer(w.Ticket, nil, errors.New("the session has ended"))
			}
			return w.Session == id
		})
		if h.Session == id {
			m.free(ctx, name)
		}
	}
}

// watch waits until somebody else, or nobody, holds a lock.
func (m *locks) watch(ctx *machine.Context, r request) (any, error) {
	if ctx.Kind == machine.Command {
		return nil, errors.New("Watch must be a Query or a LocalQuery")
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
