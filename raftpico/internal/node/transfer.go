package node

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// transfer is a TransferLeader that is under way (Raft thesis §3.10). Meanwhile the library takes no proposals, so
// commands wait. It gives up after an election timeout.
type transfer struct {
	caller   Caller // nil: none is under way
	to       uint64
	deadline time.Duration
	begun    bool // the library was told
}

// transferLeader begins to hand leadership to a voter. It is answered when this server has heard that the other leads.
func (n *Node) transferLeader(caller Caller, r *Request, deadline time.Duration) {
	to := r.NodeID
	if r.Addr != "" {
		to = n.state.system.find(r.Addr)
	}
	var refusal string
	switch m, member := n.state.system.Members[to]; {
	case n.raft.role != raft.StateLeader:
		refusal = "this server does not lead"
	case n.transfer.caller != nil:
		refusal = "leadership is being handed over already"
	case to == n.identity.NodeID:
		n.env.Answer(caller, []byte("null"), nil)
		return
	case member && !m.Nonvoter && slices.Contains(n.raft.log.conf.GetVoters(), to):
	case !n.leading():
		refusal = "no voter is known by that address or id yet"
	default:
		n.env.Answer(caller, nil, ErrInvalidParams.Because("no voter has that address or id"))
		return
	}
	if refusal != "" {
		n.env.Answer(caller, nil, n.failure(ErrRejected, refusal))
		return
	}
	n.pending++
	n.transfer = transfer{caller: caller, to: to, deadline: min(deadline, n.clock.elapsed+2*electionTicks*n.state.system.Tick())}
	n.due(n.transfer.deadline)
	n.beginTransfer()
}

// beginTransfer tells the library, as soon as no step of the configuration is under way. A server that is told to
// campaign would not do so while it has a step that it has not applied.
func (n *Node) beginTransfer() {
	if t := &n.transfer; t.caller != nil && !t.begun && !n.stepping() && n.raft.raw.BasicStatus().RaftState == raft.StateLeader {
		t.begun = true
		n.raft.raw.TransferLeader(t.to)
	}
}

// endTransfer answers a TransferLeader whose outcome is known: somebody leads, or too much time has passed.
func (n *Node) endTransfer() {
	t := n.transfer
	switch {
	case t.caller == nil:
	case n.raft.lead == t.to:
		n.transfer = transfer{}
		n.answer(t.caller, []byte("null"), nil)
	case n.raft.lead != raft.None && n.raft.lead != n.identity.NodeID, n.expired(t.deadline):
		why := ErrUnknown // it may still take over: what tells it to may be on its way
		if !t.begun {
			why = ErrRejected
		}
		n.transfer = transfer{}
		n.answer(t.caller, nil, n.failure(why, "the other server has not taken over"))
	}
}

// HandOver gives leadership to the voter that is most up to date, if this server leads and there is another. It reports
// whether there is something to wait for. One that is connected and was silent lately is waited for: the library
// forgets who was active with every election timeout.
func (n *Node) HandOver() bool {
	if n.raft.raw == nil || n.raft.raw.BasicStatus().RaftState != raft.StateLeader {
		return false
	}
	var best, match uint64
	some := false
	n.raft.raw.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		m, member := n.state.system.Members[id]
		candidate := id != n.identity.NodeID && typ == raft.ProgressTypePeer && member && !m.Nonvoter && n.peers.up[id]
		some = some || candidate
		if candidate && pr.RecentActive && (best == 0 || pr.Match > match || pr.Match == match && id < best) {
			best, match = id, pr.Match
		}
	})
	if best == 0 {
		return some
	}
	if n.raft.raw.BasicStatus().LeadTransferee == raft.None && !n.stepping() {
		n.log.Info("handing leadership over", "to", best)
		n.raft.raw.TransferLeader(best)
		n.unfinished = true // the turn may be over
	}
	return true
}
