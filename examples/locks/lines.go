package main

import (
	"github.com/raftpico/go/machine"
)

// The lines before locks.

// waiter is a request that waits for its lock. What is exported is replicated, and does not change.
type waiter struct {
	Ticket  machine.Ticket
	Lock    string // with its tenant
	Until   int64  // ms: then it leaves the line
	Session uint64 `json:",omitzero"`
	Request *request

	before, behind *waiter // in the line
	due            item
}

// line has those who wait for a lock, in the order in which they came.
type line struct{ first, last *waiter }

func (l *line) add(w *waiter) {
	w.before = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.behind = w
	}
	l.last = w
}

func (l *line) remove(w *waiter) {
	if w.before == nil {
		l.first = w.behind
	} else {
		w.before.behind = w.behind
	}
	if w.behind == nil {
		l.last = w.before
	} else {
		w.behind.before = w.before
	}
	w.before, w.behind = nil, nil
}

// enqueue puts a request in line.
func (m *service) enqueue(ctx *machine.Context, lock string, r *request) error {
	w := &waiter{Lock: lock, Until: after(ctx, r.LockWait), Session: ctx.Session, Request: r}
	if m.Waiting.Len() >= m.limits.waiters || m.size+w.cost() > m.limits.size {
		return errFull
	}
	w.Ticket = ctx.Defer()
	m.Waiting.Set(text(w.Ticket), w)
	m.indexWaiter(w)
	return nil
}

// indexWaiter puts a waiter at the end of its line.
func (m *service) indexWaiter(w *waiter) {
	m.size += w.cost()
	m.waiting[w.Ticket] = w
	l := m.lines[w.Lock]
	if l == nil {
		l = new(line)
		m.lines[w.Lock] = l
	}
	l.add(w)
	w.due = item{at: w.Until, waiter: w}
	m.due.add(&w.due)
	m.claim(w.Session, claim{ticket: w.Ticket})
}

// out takes a waiter out of its line.
func (m *service) out(w *waiter) {
	m.Waiting.Delete(text(w.Ticket))
	m.size -= w.cost()
	delete(m.waiting, w.Ticket)
	l := m.lines[w.Lock]
	if l.remove(w); l.first == nil {
		delete(m.lines, w.Lock)
	}
	m.due.remove(&w.due)
	m.unclaim(w.Session, claim{ticket: w.Ticket})
}

// leave takes a request out of its line, if it is in one, and tells it so.
func (m *service) leave(ctx *machine.Context, t machine.Ticket) {
	if w := m.waiting[t]; w != nil {
		m.out(w)
		ctx.Answer(t, nil, m.inVain(w))
	}
}

// inVain is the error of a request that has waited in vain. The same one may have come again meanwhile, and been done.
func (m *service) inVain(w *waiter) error {
	if err := m.duplicate(w.Request); err != nil {
		return err
	}
	return errNotLocked
}

// serveLines gives locks that were freed to the first in line whose request can be done. That may free other locks.
func (m *service) serveLines(ctx *machine.Context) {
	for len(m.freed) > 0 {
		lock := m.freed[0]
		m.freed = m.freed[1:]
		for given := false; !given && m.lines[lock] != nil; {
			w := m.lines[lock].first
			m.out(w)
			given = m.serve(ctx, w)
		}
	}
	m.freed = nil
}

// serve answers a request whose turn it is. It is false if that has not taken the lock.
func (m *service) serve(ctx *machine.Context, w *waiter) bool {
	out, err := m.prepare(w.Request)
	if w.Until <= now(ctx) {
		err = m.inVain(w)
	}
	if err != nil {
		ctx.Answer(w.Ticket, nil, err)
		return false
	}
	m.give(ctx, w.Lock, w.Request, w.Session, w.Ticket, &out)
	return true
}
