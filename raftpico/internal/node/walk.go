package node

import (
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A server that leaves takes two steps, both RemoveNode. The first one takes it out of the configuration; but some of those who stay
// may not know that it is committed, and need its vote as long as they don't (four voters that become three, of which one has
// not heard of the step). The second one changes nothing, but proves the first. Only a leader that has applied the first one proposes it,
// so whoever logs it knows from the very line that the first one is committed; and it is committed by a majority of those who
// stay. So any majority of them can elect a leader: that with the longest log among them has the second step. When it is
// applied, the server has gone.

// walk is a step of the configuration that this leader has under way.
type walk struct {
	term  uint64 // in which it was proposed; 0: there is none
	index uint64 // it is no longer when this index is applied; 0 until the library has given it one
}

// logged notes the index of the last entry that the library has made of proposals.
func (w *walk) logged(last uint64) {
	if w.term != 0 && w.index == 0 {
		w.index = last
	}
}

// applied notes what was applied.
func (w *walk) applied(index uint64) {
	if w.index != 0 && index >= w.index {
		*w = walk{}
	}
}

// walkConfiguration moves the Raft configuration one step towards the member list: learners first, promotion before
// removal, the leader itself last. NB: The library turns a second pending change into an empty entry, silently; so
// there is a step only with the start of the term applied and no other one under way.
func (n *Node) walkConfiguration() {
	if n.raft.raw == nil || !n.leading() || n.stepping() {
		return
	}
	if n.beginTransfer(); n.raft.raw.BasicStatus().LeadTransferee != raft.None {
		return
	}
	if n.removed {
		n.HandOver()
		return
	}
	s, conf, self := n.state.system, n.raft.log.conf, n.identity.NodeID
	for _, id := range s.ids() {
		if !n.inConfiguration(id) {
			n.proposeStep(wire.AddLearner, id)
			return
		}
	}
	for _, id := range s.ids() {
		if slices.Contains(conf.GetLearners(), id) && n.caughtUp(id) {
			n.proposeStep(wire.AddVoter, id)
			return
		}
	}
	for _, id := range append(confIDs(conf), slices.Sorted(maps.Keys(s.Leaving))...) { // one may leave before its first step
		if _, member := s.Members[id]; !member && id != self {
			n.proposeStep(wire.RemoveNode, id)
			return
		}
	}
	if parting := slices.Sorted(maps.Keys(s.Parting)); len(parting) > 0 {
		n.proposeStep(wire.RemoveNode, parting[0])
		return
	}
	if _, member := s.Members[self]; !member {
		n.HandOver()
	}
}

// stepping tells whether this leader has a step of the configuration under way.
func (n *Node) stepping() bool { return n.peers.walk.term != 0 && n.peers.walk.term == n.raft.term }

// proposeStep proposes a step. NB: The library may make an empty entry of it all the same: a step that it dropped for want
// of room goes on counting as pending. So what ends a step is the entry's place in the log, whatever is there.
func (n *Node) proposeStep(step raftpb.ConfChangeType, id uint64) {
	if err := n.raft.raw.ProposeConfChange(wire.ConfChange(step, id)); err == nil {
		n.peers.walk = walk{term: n.raft.term}
	}
}
