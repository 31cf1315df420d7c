package node

import (
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A step is an entry that changes the Raft configuration. The removal of a server takes two steps, both RemoveNode.
//
// The first step takes the server out of the configuration. Some of those who stay may not know that it is committed.
// As long as they don't, they count the server's vote too. So its vote may be needed: when four voters become three,
// and one of the three has not heard of the commit, two of the three alone can't elect a leader.
//
// The second step changes nothing, but proves the first one. Only a leader that has applied the first step proposes it.
// So the line in which a server logs the second step also tells that the first one is committed. When the second step
// is committed, a majority of those who stay has it in the log. In any majority of them, whoever has the longest log
// has the second step, counts the new voters only, and can win. So when the second step is applied, the server has
// gone.

// walk is the step that this leader has under way, if any.
type walk struct {
	term  uint64 // in which it was proposed; 0: there is none
	index uint64 // of the step; when this index is applied, the step is over. 0: the library has not given it one yet
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

// A voter that is to learn loses its vote in two steps too, for the same reason: see demotion.go.

// walkConfiguration moves the Raft configuration one step towards the member list: it proves a demotion first, then adds
// learners, then promotes them, then demotes voters, then removes servers, the leader itself last.
//
// NB: The library silently makes an empty entry of a second step while one is pending. So a step is proposed only when
// no other one is under way, and when the first entry of the term is applied.
func (n *Node) walkConfiguration() {
	if n.raft.raw == nil || !n.leading() || n.stepping() {
		return
	}
	if n.beginTransfer(); n.raft.raw.BasicStatus().LeadTransferee != raft.None {
		return
	}
	if n.removed || n.demoted() {
		n.HandOver()
		return
	}
	if n.atRest() {
		return
	}
	s, conf, self := n.state.system, n.raft.log.conf, n.identity.NodeID
	if id := s.unproven(); id != 0 {
		n.proposeStep(wire.AddLearner, id)
		return
	}
	for _, id := range s.ids() {
		if !n.inConfiguration(id) {
			n.proposeStep(wire.AddLearner, id)
			return
		}
	}
	for _, id := range s.ids() {
		if slices.Contains(conf.GetLearners(), id) && !s.Members[id].Nonvoter && n.caughtUp(id) {
			n.proposeStep(wire.AddVoter, id)
			return
		}
	}
	for _, id := range s.ids() {
		if s.Members[id].Demotion != "" && id != self {
			n.proposeStep(wire.AddLearner, id)
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
	if m, member := s.Members[self]; !member || m.Nonvoter {
		n.HandOver()
	}
}

// atRest tells whether the configuration is the list's, and this leader votes: then there is no step to take. Every turn asks,
// so it allocates nothing.
func (n *Node) atRest() bool {
	s, conf := n.state.system, n.raft.log.conf
	if len(s.Leaving)+len(s.Parting) > 0 || len(conf.GetVoters())+len(conf.GetLearners()) != len(s.Members) {
		return false
	}
	for id, m := range s.Members {
		place := conf.GetVoters()
		if m.Nonvoter {
			place = conf.GetLearners()
		}
		if m.Demotion != "" || m.Nonvoter && id == n.identity.NodeID || !slices.Contains(place, id) {
			return false
		}
	}
	return true
}

// stepping tells whether this leader has a step of the configuration under way.
func (n *Node) stepping() bool { return n.peers.walk.term != 0 && n.peers.walk.term == n.raft.term }

// proposeStep proposes a step. NB: The library may make an empty entry of it all the same, since it counts a step that
// it dropped for want of room as pending. So a step is over when its index is applied, whatever entry is there.
func (n *Node) proposeStep(step raftpb.ConfChangeType, id uint64) {
	if err := n.raft.raw.ProposeConfChange(wire.ConfChange(step, id)); err == nil {
		n.peers.walk = walk{term: n.raft.term}
	}
}
