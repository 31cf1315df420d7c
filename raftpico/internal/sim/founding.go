package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/node"
)

// founding is a cluster that its servers create by themselves (package join), while faults go on. There are worlds without it.
type founding struct {
	w       *world
	rng     *rand.Rand // nil: an operator creates the cluster. Its own, so that worlds without it stay what they were
	list    []string   // addresses
	cluster string     // that was created last
	wiped   bool       // a file was lost before there was a cluster: the promises of the others may hold it up
}

func (f *founding) begin(w *world, servers int) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 6))
	*f = founding{w: w}
	if w.cfg.Load != nil || rng.IntN(3) > 0 {
		return
	}
	f.rng = rng
	for slot := range servers {
		f.list = append(f.list, fmt.Sprintf("s%d:1", slot))
	}
}

// does tells whether a cluster is created by its servers.
func (f *founding) does(c *checks) bool { return f.rng != nil && c == f.w.home }

// blank tells whether a server is one of those that create a cluster, and belongs to none.
func (f *founding) blank(s *server) bool {
	return f.rng != nil && !s.stranger && s.disk.identity.ClusterID == ""
}

// last tells whether a server is the only one of those that have created the cluster that still has a file of it. If that is lost,
// they create another one, whoever was added since: an operator must not let it come to that.
func (f *founding) last(s *server) bool {
	listed := func(o *server) bool {
		return o.slot < len(f.list) && f.cluster != "" && o.disk.identity.ClusterID == f.cluster
	}
	return f.rng != nil && listed(s) && f.w.find(func(o *server) bool { return o != s && listed(o) }) == nil
}

func (f *founding) founders(s *server) []string {
	if !f.blank(s) || !slices.Contains(f.list, s.addr) {
		return nil
	}
	return f.list
}

// begins is called when a server has started.
func (f *founding) begins(s *server) {
	if f.founders(s) != nil {
		identity, run := fmt.Sprintf("%s%dr%d", f.w.home.name, s.slot, s.run), s.run
		a := join.NewAsker(s.addr, s.instance, f.list, true, identity)
		f.after(200*time.Millisecond, s, run, func() { f.round(s, a) })
	}
}

// after does something later if a server still runs.
func (f *founding) after(d time.Duration, s *server, run int, do func()) {
	f.w.after(time.Duration(f.rng.ExpFloat64()*float64(d)), func() { s.postTo(run, do) })
}

// round asks all others, and does what follows, as raftpico's joiner does.
func (f *founding) round(s *server, a *join.Asker) {
	if !f.blank(s) {
		return
	}
	run, q, asked := s.run, a.Question(), s.elapsed()
	var heard []join.Heard
	over := false
	finish := func() {
		if over {
			return
		}
		over = true
		for _, addr := range a.Others {
			if !slices.ContainsFunc(heard, func(h join.Heard) bool { return h.Addr == addr }) {
				heard = append(heard, join.Heard{Addr: addr, Err: errors.New("no answer")})
			}
		}
		switch step := a.Heard(asked, heard); step.Do {
		case join.Again:
			f.round(s, a)
			return
		case join.Create:
			create := f.w.leases.creates(s, f.w.faults.create)
			create.Until = step.Until
			f.w.clients.operator(s, create)
		case join.Add:
			if m := f.w.net.byAddr(step.Members[0]); m != nil && m.node != nil && !f.w.faults.stopped {
				f.w.clients.operator(m, node.Request{Op: node.AddServer, Addr: s.addr})
			}
		}
		f.after(500*time.Millisecond, s, run, func() { f.round(s, a) })
	}
	for _, addr := range a.Others {
		f.ask(s, addr, q, func(answer join.Answer, err error) {
			if heard = append(heard, join.Heard{Addr: addr, Answer: answer, Err: err}); len(heard) == len(a.Others) {
				finish()
			}
		})
	}
	if len(a.Others) == 0 {
		finish()
	}
	f.w.after(2*time.Second, func() { s.postTo(run, finish) })
}

// ask asks the server at an address.
func (f *founding) ask(s *server, addr string, q *join.Question, tell func(join.Answer, error)) {
	n, run := &f.w.net, s.run
	f.w.after(n.latency(), func() {
		to := n.byAddr(addr)
		switch {
		case to != nil && n.cut(s, to):
		case to == nil || to.node == nil:
			s.postTo(run, func() { tell(join.Answer{}, errAway) })
		default:
			to.post(func() {
				answer := to.node.Bootstrap(q)
				f.w.after(n.latency(), func() {
					if !n.cut(to, s) {
						s.postTo(run, func() { tell(answer, nil) })
					}
				})
			})
		}
	})
}

// found is called when a server has come into a cluster: there is never a second one beside the first.
func (f *founding) found(s *server) {
	id := s.disk.identity.ClusterID
	if f.rng == nil || s.cluster() != f.w.home || id == f.cluster {
		return
	}
	if other := f.w.find(func(o *server) bool { return o.disk.identity.ClusterID == f.cluster }); f.cluster != "" && other != nil {
		s.w.fail("two clusters from one bootstrap: %s belongs to %s, %s to %s", other, f.cluster, s, id)
	}
	f.cluster = id
	f.w.result.Seen["cluster by bootstrap"]++
}

// excused tells whether there may be no cluster in the end: the one that may create it has lost its file, after the others had
// promised it, or has joined the other cluster.
func (f *founding) excused() bool {
	return f.rng != nil && (f.wiped || f.w.servers[0].disk.identity.ClusterID != "")
}
