package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// abandons are what must be true of tickets whose answers reach nobody:
//
//	while a caller waits, or when it was handed its answer, its ticket is not abandoned
//	in a session only an ack, or the end, abandons (ledger.go)
//	whoever waits no longer is abandoned, unless its server ended, or a snapshot has taken the place of its log
//	nothing is given to an abandoned ticket
type abandons struct {
	claims map[machine.Ticket]*claimed
	all    []*claimed             // in the order in which they were made
	hashes map[abandonment]uint64 // of the machine's history, behind each
	asked  map[int]*request       // outside sessions, by id
}

// claimed is a ticket.
type claimed struct {
	machine.Ticket
	id      int // of the request
	session uint64
	gone    spot // where it was abandoned first; zero: it was not
}

type abandonment struct {
	spot
	machine.Ticket
}

func newAbandons() abandons {
	return abandons{claims: map[machine.Ticket]*claimed{}, hashes: map[abandonment]uint64{}, asked: map[int]*request{}}
}

// deferred is called by the machine.
func (a *abandons) deferred(t machine.Ticket, id int, session uint64) {
	if a.claims[t] == nil {
		a.claims[t] = &claimed{Ticket: t, id: id, session: session}
		a.all = append(a.all, a.claims[t])
	}
}

// gone is called by the machine, before it does anything.
func (c *checks) gone(s *server, at spot, t machine.Ticket) *claimed {
	one := c.abandons.claims[t]
	if one == nil {
		s.w.fail("%s abandons %v at %v, which nobody has", s, t, at)
	}
	if at.index <= uint64(len(c.committed)) || one.gone != (spot{}) {
		return one
	}
	one.gone = at
	r := c.abandons.asked[one.id]
	switch {
	case one.session != 0:
		s.w.result.Seen["abandoned in a session"]++
	case r == nil:
		s.w.fail("%s abandons request %d at %v, and nobody has asked that", s, one.id, at)
	case !r.answered && !r.lost:
		s.w.fail("%s abandons %v at %v, and %s waits for it", s, t, at, r)
	case r.answered && isOutcome(r.err) && !r.missed:
		s.w.fail("%s abandons %v at %v, and %s has its answer", s, t, at, r)
	case r.missed:
		s.w.result.Seen["abandoned with its answer"]++
	default:
		s.w.result.Seen["abandoned"]++
	}
	return one
}

// first tells whether an entry is the first to abandon one of its tickets.
func (a *abandons) first(index uint64, c *wire.Abandon) bool {
	return slices.ContainsFunc(c.Tickets, func(t wire.Ticket) bool {
		one := a.claims[machine.Ticket(t)]
		return one != nil && one.gone.index == index
	})
}

// gives is called by the machine when it answers a ticket.
func (c *checks) gives(s *server, at spot, t machine.Ticket) {
	if one := c.abandons.claims[t]; one.gone != (spot{}) && one.gone.index < at.index {
		s.w.fail("%s answers %v at %v, and it was abandoned at %v", s, t, at, one.gone)
	}
}

// abandoned is called when a machine has heard of it.
func (c *checks) abandoned(s *server, at spot, t machine.Ticket, hash uint64) {
	here := abandonment{at, t}
	known, ok := c.abandons.hashes[here]
	if ok && known != hash || !ok && at.index <= uint64(len(c.committed)) {
		s.w.fail("%s has another state behind %v, where %v was abandoned, than others", s, at, t)
	}
	c.abandons.hashes[here] = hash
}

// forsaken holds that nobody is forgotten, when all is quiet. One more goes, just before it gets its answer.
func (c *checks) forsaken(w *world) {
	if w.extras.rng == nil {
		return
	}
	s := c.members(w)[0]
	ask := func(words string) *request {
		w.clients.ids++
		r := &request{id: w.clients.ids, server: s, request: node.Request{Op: node.Apply, Kind: machine.Command,
			Input: json.RawMessage(fmt.Sprintf(`"%d %s"`, w.clients.ids, words)), Deadline: w.extras.maxTimeout}}
		w.clients.send(r)
		w.runUntil(w.now + soon/2)
		return r
	}
	ask("hold farewell 100000")
	ask("hold farewell 100000").gone = true
	ask("release farewell")
	w.runUntil(w.now + soon)
	for _, one := range c.abandons.all {
		r := c.abandons.asked[one.id]
		if one.session != 0 || one.gone != (spot{}) || r == nil || !r.answered || one.Index > uint64(len(c.committed)) {
			continue
		}
		missed := r.missed || r.err != nil && r.err.Code == node.ErrUnknown.Code
		s := r.server
		if !slices.Contains(c.members(w), s) { // it was removed, and may not know
			continue
		}
		if !missed || s.run != r.run || s.installs != r.installs || s.node.State().Removed || s.cluster() != c {
			continue
		}
		w.fail("%s waits no longer for %v, and it was not abandoned", r, one.Ticket)
	}
}

// OnAbandon implements machine.Abandoner: a claim ends, in line or when it was fulfilled. In a session somebody may wait
// still.
func (m *keyValue) OnAbandon(ctx *machine.Context, t machine.Ticket) {
	cluster, here := m.s.cluster(), spot{ctx.Index, ctx.Offset}
	one := cluster.gone(m.s, here, t)
	if one.session != 0 {
		cluster.ledger.calls(m.s, ctx, call{offset: ctx.Offset, session: one.session, id: one.id, gone: true})
	}
	for _, name := range slices.Sorted(maps.Keys(m.state.Locks)) {
		l := m.state.Locks[name]
		i := slices.IndexFunc(l.Queue, func(c claimant) bool { return c.Ticket == t })
		if i >= 0 {
			if c := l.Queue[i]; c.Session != 0 {
				m.answer(ctx, c, fmt.Sprintf("!%d", errEnded), &machine.Error{Code: errEnded, Message: "it was given up"})
			}
			l.Queue = slices.Delete(slices.Clone(l.Queue), i, i+1)
			m.state.Locks[name] = l
		}
		if l.Holder.Ticket == t {
			m.next(ctx, name)
		}
	}
	m.unasked(ctx, "abandon", fmt.Sprint(t))
	cluster.abandoned(m.s, here, t, m.state.Hash)
}

// open are the calls by which the machine must hear that a session gives up its deferred commands, up to a seq.
func (a *account) open(at spot, upTo uint64) (must []call) {
	var some []*outcome
	for _, o := range a.kept {
		if !o.done && o.seq <= upTo {
			some = append(some, o)
		}
	}
	slices.SortFunc(some, func(a, b *outcome) int { return cmp.Compare(a.seq, b.seq) })
	for _, o := range some {
		must = append(must, call{offset: at.offset, session: a.id, id: o.id, gone: true})
	}
	return must
}
