package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
)

// operate lets the operators do their work: one for each cluster.
func (f *faults) operate() {
	// Of a number of its own, so that the other worlds stay what they were.
	f.eager = f.w.cfg.Load == nil && rand.New(rand.NewPCG(f.w.cfg.Seed, 10)).IntN(2) == 0
	for _, c := range f.w.clusters() {
		pause := 1500 * time.Millisecond
		if c == f.w.away {
			pause = 4 * time.Second
		}
		f.w.after(0, func() { f.operateOn(c, pause) })
	}
}

// operateOn does something to a cluster, again and again: it creates it, adds and removes servers, most of all those that
// are gone.
func (f *faults) operateOn(c *checks, pause time.Duration) {
	if f.stopped {
		return
	}
	w, next := f.w, pause
	if f.grows(c) {
		next /= 5
	}
	w.after(w.about(next), func() { f.operateOn(c, pause) })
	if len(c.view) == 0 && w.founding.does(c) {
		return
	}
	if len(c.view) == 0 {
		if founder := w.founder(c); founder != nil && founder.node != nil {
			w.clients.operator(founder, w.leases.creates(founder, f.create))
		}
		return
	}
	for range 1 + w.rng.IntN(2)*w.rng.IntN(3) { // at once, to several servers
		s := w.servers[w.rng.IntN(len(w.servers))]
		if members := c.members(w); len(members) > 0 && w.chance(0.5) {
			s = members[w.rng.IntN(len(members))]
		}
		if s.node != nil && s.cluster() == c {
			change := w.replicas.change(w, c, f.change(c))
			w.clients.operator(s, change)
			if other := w.servers[w.rng.IntN(len(w.servers))]; change.Op == node.RemoveServer && w.chance(0.3) && other.node != nil {
				w.clients.operator(other, node.Request{Op: node.AddServer, Addr: change.Addr}) // who asks it may hear of its old place
			}
		}
	}
}

// grows tells whether an operator is about to add what servers there are. NB: He who is not so eager has a cluster of one for long.
func (f *faults) grows(c *checks) bool {
	return f.eager && c == f.w.home && len(c.view) > 0 && len(c.view) < f.w.result.Servers
}

// founder is the server that creates a cluster, nil if it can't: the first one is to be there before the other.
func (w *world) founder(c *checks) *server {
	if c == w.home {
		return w.servers[0]
	}
	if len(w.home.view) == 0 {
		return nil
	}
	return w.servers[w.result.Servers]
}

// change makes up a change of a cluster. Members whose file is gone are removed first.
func (f *faults) change(c *checks) node.Request {
	w := f.w
	for _, m := range c.view {
		if !m.alive(w) {
			return node.Request{Op: node.RemoveServer, Addr: m.Addr}
		}
	}
	some := w.servers[w.rng.IntN(len(w.servers))]
	others := slices.DeleteFunc(slices.Clone(w.servers), func(s *server) bool { return slices.Contains(c.members(w), s) })
	if len(others) > 0 {
		some = others[w.rng.IntN(len(others))]
	}
	if w.cfg.Load != nil && len(others) > 0 { // it is stated how many there are
		return node.Request{Op: node.AddServer, Addr: some.addr}
	}
	switch p := w.rng.Float64(); {
	case len(others) > 0 && f.grows(c) && w.chance(0.8):
		return node.Request{Op: node.AddServer, Addr: some.addr}
	case p < 0.08:
		return node.Request{Op: node.Backup, Stale: p < 0.02}
	case p < 0.15:
		return node.Request{Op: node.TakeSnapshot}
	case p < 0.3:
		return node.Request{Op: node.GetServerState, Machines: w.chance(0.8)}
	case p < 0.4:
		return node.Request{Op: node.TransferLeader, NodeID: c.view[w.rng.IntN(len(c.view))].ID}
	case p < 0.55:
		return node.Request{Op: node.RemoveServer, Addr: w.servers[w.rng.IntN(len(w.servers))].addr}
	}
	return node.Request{Op: node.AddServer, Addr: some.addr}
}
