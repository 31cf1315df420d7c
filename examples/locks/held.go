package main

import (
	"cmp"
	"slices"

	"github.com/raftpico/go/machine"
)

// Locks that are held, and those to whom they belong.

// held is a lock that somebody holds. It does not change: one that is extended is another one.
type held struct {
	Handle  uint64
	Until   int64          // ms: then it is free
	Session uint64         `json:",omitzero"` // with which it ends
	Ticket  machine.Ticket // of the request that got it
}

// give gives a lock that is free to a request that can be done, does the rest of it, and answers it.
func (m *service) give(ctx *machine.Context, lock string, r *request, session uint64, t machine.Ticket, out *response) {
	m.Handle++
	out.Lock = m.Handle
	m.hold(lock, held{Handle: m.Handle, Until: after(ctx, r.LockDur), Session: session, Ticket: t})
	m.commit(ctx, r, out)
	ctx.Answer(t, out, nil)
}

// extend makes a lock last longer, or shorter. It stays its session's.
func (m *service) extend(ctx *machine.Context, lock string, r *request) {
	h := m.release(lock)
	h.Until = after(ctx, r.LockDur)
	m.hold(lock, h)
}

func (m *service) hold(lock string, h held) {
	m.Held.Set(lock, h)
	m.indexHeld(lock, h)
}

func (m *service) release(lock string) held {
	h, _ := m.Held.Delete(lock)
	m.size -= cost(lock, heldSize)
	m.due.remove(m.given[h.Ticket])
	delete(m.given, h.Ticket)
	m.unclaim(h.Session, claim{lock: lock, handle: h.Handle})
	return h
}

func (m *service) indexHeld(lock string, h held) {
	m.size += cost(lock, heldSize)
	m.given[h.Ticket] = &item{at: h.Until, lock: lock, handle: h.Handle}
	m.due.add(m.given[h.Ticket])
	m.claim(h.Session, claim{lock: lock, handle: h.Handle})
}

// free takes a lock from its holder. serveLines gives it on.
func (m *service) free(lock string) {
	m.release(lock)
	m.freed = append(m.freed, lock)
}

// claim is what ends with a session: a place in a line, or a lock.
type claim struct {
	ticket machine.Ticket
	lock   string
	handle uint64 // of a lock
}

func (m *service) claim(session uint64, c claim) {
	if session == 0 {
		return
	}
	if m.sessions[session] == nil {
		m.sessions[session] = map[claim]struct{}{}
	}
	m.sessions[session][c] = struct{}{}
}

func (m *service) unclaim(session uint64, c claim) {
	if delete(m.sessions[session], c); len(m.sessions[session]) == 0 {
		delete(m.sessions, session)
	}
}

// OnSessionEnd implements machine.SessionEnder: the session's requests leave their lines, and its locks are free.
func (m *service) OnSessionEnd(ctx *machine.Context, id uint64) {
	claims := make([]claim, 0, len(m.sessions[id]))
	for c := range m.sessions[id] {
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(a, b claim) int { // those in line first: none of them gets a lock of another one
		return cmp.Or(cmp.Compare(a.handle, b.handle), compareTickets(a.ticket, b.ticket))
	})
	for _, c := range claims {
		if c.handle != 0 {
			m.free(c.lock)
			continue
		}
		m.leave(ctx, c.ticket)
	}
	m.serveLines(ctx)
}

// OnAbandon implements machine.Abandoner: a request whose client has gone leaves its line. If it has got its lock
// meanwhile, nobody knows the handle, and the lock is free again.
func (m *service) OnAbandon(ctx *machine.Context, t machine.Ticket) {
	if w := m.waiting[t]; w != nil {
		m.out(w)
	}
	if g := m.given[t]; g != nil {
		m.free(g.lock)
		m.serveLines(ctx)
	}
}
