package node

import (
	"slices"
	"time"

	"github.com/goccy/go-json"
)

// A server leaves its cluster in two steps.
//
// First it is removed: its removal is applied here. Its clients get 102 from now on, and what they wait for is
// answered. But it goes on in Raft, with the configuration that still has it. The others may not know yet that the
// removal is committed, and may need this server's vote to find out. If this server's log is longer than theirs, they
// even need it to lead once more and to hand leadership over (Raft thesis §4.2.2: a server that is not in its own
// latest configuration must still start elections).
//
// Then it retires: a member has told it that its removal is proven (walk.go), so no majority needs its vote any more.
//
// Invariant: only a server's own removal is kept from its library, and a removed server proposes no further step. So
// the configuration that it uses and that of the others differ by one server, and their majorities overlap.
//
// Once its removal is answered, a removed server may be stopped, and its file deleted. So RemoveServer is answered only
// when the removal is proven. The removed server itself answers it when it retires.

// removalCaller waits for a server to leave the configuration, or to lose its vote in it.
type removalCaller struct {
	caller   Caller
	deadline time.Duration
	id       uint64
	result   json.RawMessage
}

// awaitProof lets the caller of a RemoveServer, or of a SetVoter that takes a vote away, wait until it is proven that
// nobody needs the server's vote.
func (n *Node) awaitProof(id uint64, caller Caller, deadline time.Duration, result json.RawMessage) {
	if op, ok := caller.(*adminOp); ok { // requests behind it in the queue need not wait
		n.admin.inflight = nil
		caller = op.caller
	}
	n.due(deadline)
	n.admin.removals = append(n.admin.removals, removalCaller{caller, deadline, id, result})
	n.settleRemovals() // it may have been so before
}

// settleRemovals answers those whose server is not needed any more. That it has gone itself, a server learns from others
// only.
func (n *Node) settleRemovals() {
	n.answerRemovals(func(r removalCaller) bool {
		if gone := n.removed && r.id == n.identity.NodeID; gone && n.raft.raw != nil || !gone && n.state.system.needed(r.id) {
			return false
		}
		n.answer(r.caller, r.result, nil)
		return true
	})
}

func (n *Node) expireRemovals() {
	n.answerRemovals(func(r removalCaller) bool {
		if !n.expired(r.deadline) {
			return false
		}
		reason := "it is no member any more, but its vote may still be needed"
		if _, member := n.state.system.Members[r.id]; member {
			reason = "it is to learn for good, but its vote may still be needed"
		}
		n.answer(r.caller, nil, n.failure(ErrUnknown, reason))
		return true
	})
}

// answerRemovals drops the callers that f has answered.
func (n *Node) answerRemovals(f func(removalCaller) bool) {
	n.admin.removals = slices.DeleteFunc(n.admin.removals, f)
}

// remove is the first step.
func (n *Node) remove() {
	if n.removed {
		return
	}
	n.log.Info("this server was removed from its cluster", "id", n.identity.NodeID)
	n.removed = true
	var own []removalCaller
	n.answerRemovals(func(r removalCaller) bool {
		if r.id == n.identity.NodeID {
			own = append(own, r)
		}
		return r.id == n.identity.NodeID
	})
	n.settleAll(ErrNotMember, ErrUnknown.Because("this server was removed from its cluster"))
	n.admin.removals = own
}

// ToldRemoved notes that an authenticated member says that this server is none any more.
func (n *Node) ToldRemoved() {
	if n.raft.raw != nil {
		n.remove()
		n.retire()
	}
}

// retire is the second step.
func (n *Node) retire() {
	n.log.Info("nobody needs this server any more", "id", n.identity.NodeID)
	n.raft.raw, n.raft.role, n.raft.lead = nil, 0, 0
	n.notices.reset()
	n.clearForeign()
	n.pace.until = 0 // nothing is held any more
	n.settleRemovals()
	n.linkPeers()
}
