package node

import "slices"

// A server leaves its cluster in two steps.
//
// When its removal is applied here, or one member has told it, it is removed: its clients get 102 from then on, and what
// they wait for is settled. But Raft goes on, under the configuration that still has it, as if only the last step were
// not applied yet. For the others may not know that it is committed, and may need this server's vote to find out; or,
// if this server's log is longer than theirs, they need it to lead once more, and to hand leadership over (Raft thesis
// §4.2.2: a server that is not in its own latest configuration must still start elections).
//
// When a majority of the voters that remain, as far as it knows them, have told it that they have applied its removal,
// no quorum can need it any more: it retires.
//
// Invariant: only the own removal is withheld from the library, and a removed server proposes no further step. So the
// two configurations are adjacent, and their majorities overlap.

// remove is the first step.
func (n *Node) remove() {
	if n.removed {
		return
	}
	n.log.Info("this server was removed from its cluster", "id", n.identity.NodeID)
	n.removed = true
	n.settleAll(ErrNotMember, ErrUnknown.Because("this server was removed from its cluster"))
}

// ToldRemoved takes the word of an authenticated member that this server is none any more.
func (n *Node) ToldRemoved(by uint64) {
	if n.raft.raw == nil {
		return
	}
	n.remove()
	n.tellers[by] = true
	voters := slices.DeleteFunc(sorted(n.raft.log.conf.GetVoters()), func(id uint64) bool { return id == n.identity.NodeID })
	told := 0
	for _, id := range voters {
		if n.tellers[id] {
			told++
		}
	}
	if 2*told > len(voters) || len(voters) == 0 {
		n.retire()
	}
}

// retire is the second step.
func (n *Node) retire() {
	n.log.Info("nobody needs this server any more", "id", n.identity.NodeID)
	n.raft.raw, n.raft.role, n.raft.lead = nil, 0, 0
	n.linkPeers()
}
