package machinetest

import (
	"github.com/raftpico/go/machine"
)

// claims are the tickets that Defer gave, and what has become of them.
type claims struct {
	by  map[machine.Ticket]*claim
	all []*claim // in order
}

type claim struct {
	ticket    machine.Ticket
	session   uint64 // 0: none
	answered  bool
	abandoned bool // OnAbandon has run
}

func newClaims() claims { return claims{by: map[machine.Ticket]*claim{}} }

// note notes what a call that may change the state has done with tickets.
func (s *claims) note(c *call) *fault {
	own := machine.Ticket{Index: c.ctx.Index, Offset: c.ctx.Offset}
	if c.res.deferred {
		s.by[own] = &claim{ticket: own, session: c.ctx.Session}
		s.all = append(s.all, s.by[own])
	}
	for _, t := range sortedTickets(c.res.answers) {
		one := s.by[t]
		switch {
		case one == nil && t != (machine.Ticket{}) && !(c.res.gave && t == own):
			return blame(strangeTicket, "It answers %+v, which Defer did not give, or whose Apply returned an error.", t)
		case one == nil:
		case one.abandoned && (c.op != abandon || c.ticket != t):
			return blame(answersGone, "It answers %+v, for which OnAbandon has run.", t)
		default:
			one.answered = true
		}
	}
	if c.op == abandon {
		s.by[c.ticket].abandoned = true
	}
	return nil
}

// abandonable are those of which a server may say that nobody waits. An answer may have been lost, but not in a session, which
// keeps it. A server may say it twice.
func (s *claims) abandonable() (some []*claim) {
	for _, one := range s.all {
		if one.session == 0 || !one.answered && !one.abandoned {
			some = append(some, one)
		}
	}
	return some
}

// abandonSome abandons a ticket: mostly one of the last.
func (a *first) abandonSome(n int) *fault {
	some := a.claims.abandonable()
	if len(some) == 0 {
		return nil
	}
	a.enter(0)
	return a.abandon(some[len(some)-1-n%min(len(some), 8)].ticket)
}

// abandonSession abandons what is open in a session that has just ended.
func (a *first) abandonSession(id uint64) *fault {
	if _, ok := machine.AsAbandoner(a.m); !ok {
		return nil
	}
	for _, one := range a.claims.all {
		if one.session != id || one.answered || one.abandoned {
			continue
		}
		if f := a.abandon(one.ticket); f != nil {
			return f
		}
	}
	return nil
}

func (a *first) abandon(t machine.Ticket) *fault {
	c := &call{op: abandon, ticket: t, ctx: a.context(machine.Command)}
	c.ctx.Upkeep = true
	return a.change(c)
}
