package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// replicas are members that learn for good. In worlds with them the operator adds some, takes votes away and gives them back,
// and hands leadership to an address; in some of these worlds he wants no more than three voters, and in some leaders remove
// dead members. There are worlds without.
//
// A server that was told to be a learner is stopped, and its file deleted, as soon as that is answered, if it is one that is
// never promoted again: those in odd slots.
type replicas struct {
	rng        *rand.Rand    // nil: there are none. Its own, so that other worlds stay what they were
	removeDead time.Duration // 0: never
	few        bool          // beside three voters, members learn
}

func (r *replicas) begin(w *world) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 3))
	if w.cfg.Load != nil || rng.IntN(2) == 0 {
		return
	}
	r.rng, r.removeDead, r.few = rng, []time.Duration{0, time.Second, 3 * time.Second}[rng.IntN(3)], rng.IntN(2) == 0
	if r.removeDead > 0 {
		w.after(time.Duration(rng.IntN(10))*time.Second, func() { r.leave(w) })
	}
}

// leave lets a server be away for long, again and again.
func (r *replicas) leave(w *world) {
	if w.faults.stopped {
		return
	}
	w.after(time.Duration(2+r.rng.IntN(8))*time.Second, func() { r.leave(w) })
	if s := w.servers[r.rng.IntN(len(w.servers))]; s.node != nil && !s.stalled {
		w.tracef("--- %s: away for long", s)
		w.result.Faults["away for long"]++
		s.away = w.now + r.removeDead + time.Duration(1+r.rng.IntN(5))*time.Second
		s.kill()
	}
}

// change makes some changes of a cluster others.
func (r *replicas) change(w *world, c *checks, asked node.Request) node.Request {
	dead := slices.ContainsFunc(c.view, func(m member) bool { return !m.alive(w) }) // asked removes it, and that comes first
	if r.rng == nil || dead {
		return asked
	}
	m := c.view[r.rng.IntN(len(c.view))]
	voters := 0
	for _, other := range c.view {
		if other.Role == "Voter" && !other.Nonvoter {
			voters++
		}
	}
	switch p := r.rng.Float64(); {
	case asked.Op == node.AddServer && (p < 0.3 || r.few && voters >= 3):
		asked.Voter = new(false)
	case asked.Op == node.TransferLeader && p < 0.5:
		asked.NodeID, asked.Addr = 0, m.Addr
	case p > 0.75 && m.Nonvoter && r.promotes(w, m.instance):
		return node.Request{Op: node.SetVoter, Addr: m.Addr, Voter: new(true)}
	case p > 0.75 && (voters > 2 || m.Nonvoter || p > 0.95):
		return node.Request{Op: node.SetVoter, Addr: m.Addr, Voter: new(false)}
	}
	return asked
}

// promotes tells whether the operator may promote the server with a file. Where servers move, he may mistake one for another.
func (r *replicas) promotes(w *world, instance string) bool {
	s := w.withFile(instance)
	return s != nil && s.slot%2 == 0 || w.moves.rng != nil
}

// learners are those of a leader's cluster that run, most often. If there are none, it is another server.
func (r *replicas) learners(w *world, leader, other *server) (some []*server) {
	if r.rng == nil || r.rng.IntN(4) == 0 {
		return []*server{other}
	}
	for _, m := range leader.cluster().view {
		if s := w.withFile(m.instance); m.forGood() && m.alive(w) && s.node != nil && s != leader {
			some = append(some, s)
		}
	}
	if len(some) == 0 {
		return []*server{other}
	}
	return some
}

// forGood tells whether a member is a learner for good, whose vote nobody needs.
func (m *member) forGood() bool { return m.Role == "Learner" && m.Nonvoter }

// set checks the answer to a SetVoter: the member that it meant learns for good, and nobody needs its vote, or it is none any more.
// The address may be that of another by now, which has moved there or was added.
func (c *checks) set(r *request) {
	s, st := r.server, r.server.node.State()
	if *r.request.Voter {
		s.w.result.Seen["told to vote"]++
		return
	}
	meant := c.stood(st, r)
	var others []string
	for _, id := range meant {
		i := slices.IndexFunc(st.Members, func(m node.MemberState) bool { return m.ID == id })
		own := st.Removed && id == s.disk.identity.NodeID // it has left, and what it knows of itself is of before
		switch {
		case i < 0, own:
		case st.Members[i].Nonvoter && (st.Members[i].Role == "Learner" || st.Members[i].Role == "Joining"):
		default:
			others = append(others, st.Members[i].Role)
			continue
		}
		if len(meant) > 1 {
			return // which of them was meant is not certain
		}
		c.spared(s, id, wire.AddLearner)
		c.spared(s, id, wire.RemoveNode)
		if i < 0 || own {
			s.w.result.Seen["told to learn, and removed"]++
			return
		}
		s.w.result.Seen["told to learn"]++
		k := slices.IndexFunc(c.view, func(v member) bool { return v.ID == id })
		if k >= 0 && st.Members[i].Role == "Learner" && !s.w.replicas.promotes(s.w, c.view[k].instance) {
			c.spare[id] = true
			s.w.faults.discard(c, id, "demoted server deleted")
		}
		return
	}
	s.w.fail("%s was answered, and it is a %s", r, others)
}

// stood are the members that were at the address of a request when it was asked, or since: as far as any server has applied,
// and by what the one that answers knows.
func (c *checks) stood(st *node.ServerState, r *request) []uint64 {
	var ids []uint64
	note := func(m node.MemberState) {
		if m.Addr == r.request.Addr && !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	for _, m := range st.Members {
		note(m)
	}
	for _, m := range c.view {
		note(m.MemberState)
	}
	for _, l := range c.left {
		if l.at >= r.at {
			note(node.MemberState{ID: l.id, Addr: l.addr})
		}
	}
	return ids
}

// left is a member that is at an address no more.
type left struct {
	at   time.Duration // when that was first known anywhere
	id   uint64
	addr string
}

// noteLeft notes who of the members seen before is at its address no more.
func (c *checks) noteLeft(w *world, before []member) {
	for _, m := range before {
		if !slices.ContainsFunc(c.view, func(now member) bool { return now.ID == m.ID && now.Addr == m.Addr }) {
			c.left = append(c.left, left{w.now, m.ID, m.Addr})
		}
	}
}

// noteDead notes an entry by which a leader removes a dead member.
func (c *checks) noteDead(s *server, at wire.EntryID, e *raftpb.Entry) {
	if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
		return
	}
	b, err := wire.DecodeBatch(e.GetData())
	if err != nil {
		s.w.fail("%s logs %v: %v", s, at, err)
	}
	if c := b.Commands[0].System; c != nil && c.RemoveServer != nil && c.RemoveServer.ID != 0 {
		s.cluster().dead[at] = c.RemoveServer.ID
	}
}

// buries checks an entry that is applied for the first time: if it removes a dead member, the others can spare it. What a
// leader has heard may be a while ago, and a pause of its own does not count.
func (c *checks) buries(s *server, at wire.EntryID) {
	id, removes := c.dead[at]
	if !removes {
		return
	}
	if s.w.replicas.removeDead == 0 {
		s.w.fail("%s applies %v, which removes server %d as dead, and nobody is to", s, at, id)
	}
	voters := []uint64{1}
	c.replay(s, at.Index, func(_ uint64, _ step, after []uint64) { voters = after })
	left := slices.DeleteFunc(slices.Clone(voters), func(v uint64) bool { return v == id })
	if len(left) < len(voters) && len(left) < 3 {
		s.w.fail("%s applies %v, which removes server %d as dead, and of the voters %v fewer than three are left", s, at, id, voters)
	}
	s.w.result.Seen["dead removed"]++
	if len(left) == len(voters) {
		s.w.result.Seen["dead learner removed"]++
	}
}
