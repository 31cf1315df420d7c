package node

import (
	"slices"

	"go.etcd.io/raft/v3"
)

// A follower that hears nothing of its leader campaigns, and so knows none. A learner does not campaign: the library keeps
// the leader that it knew for ever. But whoever asks a read replica must hear that it is cut off. So here a learner knows
// no leader any more when it has heard nothing of it for as long as a follower waits at most.
//
// It may have been removed meanwhile, and would never hear of that, since only who speaks is told that it is no member. So it
// asks its leader for a read index, now and then. Nobody waits for the answer.

// lostPause is in election timeouts: a follower waits less than two before it campaigns.
const lostPause = 2

// looksForLeader notes that this learner has lost its leader. It is called with the library's ticks.
func (n *Node) looksForLeader() {
	c := &n.clock
	if n.raft.role != raft.StateFollower || c.elapsed-max(c.heard, c.asked) < lostPause*n.electionTimeout() || !n.learns() {
		return
	}
	lead := n.raft.raw.BasicStatus().Lead
	if lead == raft.None {
		return
	}
	if n.raft.lead != raft.None {
		n.log.Warn("this learner hears nothing of its leader", "leader", lead)
		n.raft.lead, n.following, c.lost = raft.None, following{}, true
	}
	if c.asked = c.elapsed; n.peers.up[lead] {
		n.reads.counter++
		n.raft.raw.ReadIndex(n.readContext(n.reads.counter))
	}
}

// foundLeader notes that it hears of it again.
func (n *Node) foundLeader() {
	if n.clock.lost {
		n.clock.lost, n.raft.lead = false, n.raft.raw.BasicStatus().Lead
	}
}

// learns tells whether this server learns, also for its library.
func (n *Node) learns() bool {
	return slices.Contains(n.raft.log.conf.GetLearners(), n.identity.NodeID) && !n.demoted()
}
