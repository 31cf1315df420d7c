package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// moves are servers that are started at other addresses than before: at free ones, or at those of servers that are down, members
// or not. There are worlds without them.
type moves struct {
	w    *world
	rng  *rand.Rand      // nil: there are none. Its own, so that worlds without them stay what they were
	free []string        // addresses
	all  []string        // addresses, which servers look at for members that they can't reach
	been map[string]bool // by instance and address: who was started where
}

func (v *moves) begin(w *world) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 5))
	*v = moves{w: w}
	if w.cfg.Load != nil || rng.IntN(3) > 0 {
		return
	}
	v.rng, v.been = rng, map[string]bool{}
	for i := range 1 + rng.IntN(3) {
		v.free = append(v.free, fmt.Sprintf("free%d:1", i))
	}
	for slot := range maxServers {
		v.all = append(v.all, fmt.Sprintf("s%d:1", slot))
	}
	v.all = append(v.all, v.free...)
	w.after(time.Second, v.look)
}

// move gives a server that is down another address, perhaps.
func (v *moves) move(s *server) {
	if v.rng == nil || v.rng.IntN(2) > 0 || v.w.founding.blank(s) {
		return
	}
	others := slices.DeleteFunc(slices.Clone(v.w.servers), func(o *server) bool { return o == s || o.node != nil || v.w.founding.blank(o) })
	old := s.addr
	if len(others) > 0 && v.rng.IntN(2) == 0 {
		o := others[v.rng.IntN(len(others))]
		s.addr, o.addr, o.since = o.addr, old, v.w.now
		v.w.result.Faults["moved to the address of another"]++
	} else {
		i := v.rng.IntN(len(v.free))
		s.addr, v.free[i] = v.free[i], old
		v.w.result.Faults["moved"]++
	}
	s.since = v.w.now
	v.w.tracef("%s is at %s now, it was at %s", s, s.addr, old)
}

// begins notes where a server is started.
func (v *moves) begins(s *server) {
	if v.rng != nil {
		v.been[s.instance+" "+s.addr] = true
	}
}

// logged checks an entry that is logged for the first time: the list follows only who has been there.
func (v *moves) logged(s *server, b *wire.Batch) {
	if c := b.Commands[0].System; v.rng != nil && c != nil && c.MoveServer != nil {
		v.w.result.Seen["list follows"]++
		if m := c.MoveServer; !v.been[m.Instance+" "+m.Addr] {
			s.w.fail("%s logs that server %d with the file %s is at %s, and it never was", s, m.ID, m.Instance, m.Addr)
		}
	}
}

// look lets servers look for members that they can't reach: where others say that these are, and at all addresses.
func (v *moves) look() {
	v.w.after(time.Second, v.look)
	for _, s := range v.w.servers {
		if s.node == nil {
			continue
		}
		for _, p := range s.node.Peers() {
			l := s.links[p.ID]
			if l.conn == nil {
				v.search(s, p)
				continue
			}
			if to := l.conn.to; to.node != nil && to.run == l.conn.toRun && !v.w.net.cut(to, s) { // as a pong tells
				identity, _ := s.node.Identity()
				for _, m := range to.node.Moved() {
					run := s.run
					v.w.after(v.w.net.latency(), func() {
						s.postTo(run, func() {
							s.node.Found(m.Addr, node.Who{ClusterID: identity.ClusterID, NodeID: m.ID, Instance: m.Instance})
						})
					})
				}
			}
		}
	}
}

// search lets a server look for one that it can't reach: at some address, or, when faults have stopped, at all of them.
func (v *moves) search(s *server, p node.Peer) {
	addrs := v.all
	if !v.w.faults.stopped {
		some := v.all[v.rng.IntN(len(v.all))]
		if lies := v.rng.IntN(4) == 0; lies { // a stranger may say anything
			identity, _ := s.node.Identity()
			s.node.Found(some, node.Who{ClusterID: identity.ClusterID, NodeID: p.ID, Instance: p.Instance})
			return
		}
		addrs = []string{some}
	}
	for _, addr := range addrs {
		v.w.net.probe(s, addr, func(who node.Who, err error) {
			if err == nil {
				s.node.Found(addr, who)
			}
		})
	}
}

// address is where a link is dialled next: wherever the server may be, in turn.
func (l *link) address() string {
	var all []string
	for _, addr := range []string{l.peer.Place, l.peer.Hint, l.peer.Addr} {
		if addr != "" {
			all = append(all, addr)
		}
	}
	return all[(l.tries-1)%len(all)]
}

// find is the first server for which something holds, or nil.
func (w *world) find(holds func(*server) bool) *server {
	if i := slices.IndexFunc(w.servers, holds); i >= 0 {
		return w.servers[i]
	}
	return nil
}

// withFile is the server with a file, or nil.
func (w *world) withFile(instance string) *server {
	return w.find(func(s *server) bool { return s.instance == instance })
}

// seated is the server that has a place in a cluster, or nil.
func (c *checks) seated(w *world, id uint64) *server {
	return w.find(func(s *server) bool { return s.disk.identity.NodeID == id && s.cluster() == c })
}
