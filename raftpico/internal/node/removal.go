package node

import (
	"slices"
	"time"

	"github.com/goccy/go-json"
)

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

// A removed server may be stopped, and its file deleted, once its removal is answered: its vote must not be needed any more. So
// RemoveServer is answered when it has gone (system.left), or by itself when it retires: not when the list has changed.

// removalCaller waits for a server to leave the configuration.
type removalCaller struct {
	caller   Caller
	deadline time.Duration
	id       uint64
	result   json.RawMessage
}

// awaitRemoval lets the caller of a RemoveServer, which has changed the list, wait for its end.
func (n *Node) awaitRemoval(caller Caller, deadline time.Duration, addr string, result json.RawMessage) {
	if op, ok := caller.(*adminOp); ok { // what waits behind it need not wait for that
		n.admin.inflight = nil
		caller = op.caller
	}
	newest := uint64(0) // an earlier one at the same address may still be leaving
	for id, m := range n.state.system.Leaving {
		if m.Addr == addr {
			newest = max(newest, id)
		}
	}
	n.due(deadline)
	n.admin.removals = append(n.admin.removals, removalCaller{caller, deadline, newest, result})
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
	n.settleRemovals()
	n.linkPeers()
}
