package node

import (
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// walk is a leader's way from the Raft configuration to the member list: one entry at a time, a step of the configuration or a
// proof.
//
// A proof is an empty entry. It is proposed after a step was applied, so it is committed by the voters after that step, and each of
// them has logged with it that the step is committed. From then on they can elect a leader without the server that the
// step has removed; before, they may still need its vote (four voters that become three, of which one has not heard of it).
type walk struct {
	term   uint64 // in which this leader proposed the entry that is under way, or 0
	index  uint64 // it is no longer when this index is applied; 0 until the library has given it one
	proof  uint64 // it proves what was applied up to this index; 0: it is a step
	proven uint64 // what was applied up to this index is proven, by this leader in its term
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
		*w = walk{proven: max(w.proven, w.proof)}
	}
}

// walkConfiguration moves the Raft configuration one step towards the member list: learners first, promotion before
// removal, the leader itself last. A server that is removed has gone when that is proven; a step that removes it once more
// tells everybody. NB: The library turns a second pending change into an empty entry, silently; so
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
	for _, id := range slices.Sorted(maps.Keys(s.Parting)) {
		if s.Parting[id].Left <= n.peers.walk.proven {
			n.proposeStep(wire.RemoveNode, id)
		} else {
			n.proposeProof()
		}
		return
	}
	if _, member := s.Members[self]; !member {
		n.HandOver()
	}
}

// stepping tells whether this leader has a step of the configuration, or a proof, under way.
func (n *Node) stepping() bool { return n.peers.walk.term != 0 && n.peers.walk.term == n.raft.term }

// proposeStep proposes a step. NB: The library may make an empty entry of it all the same: a step that it dropped for want
// of room goes on counting as pending. So what ends a step is the entry's place in the log, whatever is there.
func (n *Node) proposeStep(step raftpb.ConfChangeType, id uint64) {
	if err := n.raft.raw.ProposeConfChange(wire.ConfChange(step, id)); err == nil {
		n.peers.walk = walk{term: n.raft.term, proven: n.peers.walk.proven}
	}
}

// proposeProof proposes a proof of what is applied.
func (n *Node) proposeProof() {
	err := n.raft.raw.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(n.identity.NodeID), Entries: []*raftpb.Entry{{}}})
	if err == nil {
		n.peers.walk = walk{term: n.raft.term, proof: n.state.applied.Index, proven: n.peers.walk.proven}
	}
}
