package node

import (
	"slices"
	"time"

	"github.com/goccy/go-json"
)

// A server leaves its cluster in two steps.
//
// When its removal is applied here, it is removed: its clients get 102 from then on, and what
// they wait for is settled. But Raft goes on, under the configuration that still has it, as if only the last step were
// not applied yet. For the others may not know that it is committed, and may need this server's vote to find out; or,
// if this server's log is longer than theirs, they need it to lead once more, and to hand leadership over (Raft thesis
// §4.2.2: a server that is not in its own latest configuration must still start elections).
//
// A member tells it when the removal is proven (walk.go): then no quorum can need its vote any more, and it retires.
//
// Invariant: only the own removal is withheld from the library, and a removed server proposes no further step. So the
// two configurations are adjacent, and their majorities overlap.
//
// A removed server may be stopped, and its file deleted, once its removal is answered. So RemoveServer is answered when the removal
// is proven; by the removed server itself when it retires.

// removalCaller waits for a server to leave the configuration.
type removalCaller struct {
	caller   Caller
	deadline time.Duration
	id       uint64
	result   json.RawMessage
}

// awaitRemoval lets the caller of a RemoveServer wait until the server at addr, which is not on the list any more, has gone.
func (n *Node) awaitRemoval(caller Caller, deadline time.Duration, addr string, result json.RawMessage) {
	if op, ok := caller.(*adminOp); ok { // what waits behind it need not wait for that
		n.admin.inflight = nil
		caller = op.caller
	}
	n.awaitRemovalOf(n.state.system.leavesFrom(addr), caller, deadline, result)
}

func (n *Node) awaitRemovalOf(id uint64, caller Caller, deadline time.Duration, result json.RawMessage) {
	n.due(deadline)
	n.admin.removals = append(n.admin.removals, removalCaller{caller, deadline, id, result})
}

// settleRemovals answers those whose server has gone. Of its own going it hears from others alone.
func (n *Node) settleRemovals() {
	n.answerRemovals(func(r removalCaller) bool {
		if own := r.id == n.identity.NodeID; own && n.raft.raw != nil || !own && n.state.system.leaves(r.id) {
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
		n.answer(r.caller, nil, n.failure(ErrUnknown, "it is no member any more, but its vote may still be needed"))
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

// ToldRemoved takes the word of an authenticated member that this server is none any more.
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
