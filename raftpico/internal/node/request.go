package node

import (
	"math"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Op is what a request asks for.
type Op uint8

const (
	CreateCluster Op = iota + 1
	AddServer
	RemoveServer
	Apply
	TakeSnapshot
	CheckState
	SetVoter
	GetServerState
	TransferLeader
	Configure
	OpenSession
	KeepSession
	CloseSession
	Backup // a snapshot of this server alone, with all that was committed before it was asked for: answered when it is durable
	Cancel // the caller, who has asked before, waits no longer: what it asked for is answered now, with what is certain of it
)

// opNames are the names of the methods that ask for an Op.
var opNames = [...]string{CreateCluster: "CreateCluster", AddServer: "AddServer", RemoveServer: "RemoveServer", Apply: "Apply",
	TakeSnapshot: "TakeSnapshot", CheckState: "CheckState", SetVoter: "SetVoter", GetServerState: "GetServerState", TransferLeader: "TransferLeader", Configure: "Configure", Backup: "BeginBackup",
	OpenSession: "OpenSession", KeepSession: "KeepSession", CloseSession: "CloseSession"}

// String is the name of the method that asks for it; empty if none does.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return ""
}

// Request is a request of a client, decoded and checked in its form.
type Request struct { // the small ones stand together: thousands are copied in a turn
	Op       Op
	Kind     machine.Kind    // Apply
	Near     bool            // Apply of a Query: its caller is in process, and mostly asks again at once
	Machines bool            // GetServerState: with the machines' states
	Stale    bool            // Backup: the last snapshot will do, however old
	Leases   Choice          // leaders answer queries under a lease. Configure; CreateCluster: Unsaid is No
	Input    json.RawMessage // Apply: compact JSON
	Deadline time.Duration   // from now on, Config.MaxTimeout at most; 0: Config.Deadline
	Session  wire.SessionSeq // Apply, Keep- and CloseSession: with the ID 0, none
	TTL      time.Duration   // OpenSession
	Timeouts Timeouts        // CreateCluster
	Until    time.Duration   // CreateCluster of a bootstrap: it is refused after this time, as SetTime counts; 0: it is asked for by hand
	Addr     string          // AddServer, SetVoter, RemoveServer; TransferLeader: or empty
	NodeID   uint64          // TransferLeader without an Addr
	Voter    *bool           // SetVoter; AddServer: nil is true
}

// Choice is what a request says of something that is or is not.
type Choice uint8

const (
	Unsaid Choice = iota
	No
	Yes
)

// Choose says that something is to be, or not.
func Choose(yes bool) Choice {
	if yes {
		return Yes
	}
	return No
}

// Request takes in a request. It is answered through Env.Answer, exactly once and within the deadline, perhaps during
// this call, which keeps r.Input, but not r. Commands of one caller are proposed in the order of their Requests.
func (n *Node) Request(caller Caller, r *Request) {
	switch {
	case r.Op == Cancel: // it has no answer of its own
		n.cancelled[caller] = struct{}{}
		return
	case n.failed != nil:
		n.env.Answer(caller, nil, ErrRejected.Because("the server has failed"))
		return
	}
	switch r.Op {
	case GetServerState:
		n.getServerState(caller, r)
		return
	case CreateCluster:
		n.createCluster(caller, r)
		return
	case Apply:
		if r.Kind == machine.LocalQuery {
			n.localQuery(caller, r)
			return
		}
	}
	if n.raft.raw != nil && n.removed && r.Op == RemoveServer && r.Addr == n.cfg.Addr {
		n.pending++
		n.awaitProof(n.identity.NodeID, caller, n.deadline(r), n.state.system.result())
		return
	}
	if n.raft.raw == nil || n.removed {
		n.env.Answer(caller, nil, n.outside())
		return
	}
	if n.stopping {
		n.env.Answer(caller, nil, n.Leaving())
		return
	}
	if n.crowded() {
		n.env.Answer(caller, nil, n.failure(ErrBusy, "too many requests are under way"))
		return
	}
	deadline := n.deadline(r)
	switch {
	case r.Op == TransferLeader:
		n.transferLeader(caller, r, deadline)
	case r.Op == Backup:
		n.backup(caller, deadline, r.Stale)
	case r.Op == OpenSession, r.Op == KeepSession, r.Op == CloseSession:
		n.enqueue(command{caller, deadline, wire.Command{System: sessionCommand(r)}})
	case r.Op != Apply:
		n.askAdmin(caller, deadline, r)
	case r.Kind == machine.Query:
		n.pending++
		n.reads.waiting = append(n.reads.waiting, query{machine.Query, r.Near, caller, deadline, r.Input})
	default:
		if err := n.validate(r.Input); err != nil {
			n.env.Answer(caller, nil, err)
			return
		}
		c := command{caller, deadline, wire.Command{Apply: r.Input}}
		if r.Session.ID != 0 {
			c.command.Session = new(r.Session)
		}
		n.enqueue(c)
	}
}

// outside is the answer of a server that is no member. One that looks for its cluster may be one soon: its clients do well to wait.
func (n *Node) outside() *jsonrpc.Error {
	switch {
	case !n.cfg.Joining || n.identity != nil || n.removed:
		return ErrNotMember
	case n.stopping:
		return n.Leaving()
	default:
		return ErrNoLeader.Because("this server looks for its cluster, and belongs to none yet")
	}
}

// LocalQuery runs a query on the machine as it is, also before the server belongs to a cluster. It may be called between
// all other calls, and while Env.Save is under way. A query that waits has no answer yet: it must be given to Request.
// With timedOut it does not wait.
func (n *Node) LocalQuery(input json.RawMessage, timedOut bool) (out json.RawMessage, err *jsonrpc.Error, waits bool) {
	switch {
	case n.failed != nil:
		return nil, ErrRejected.Because("the server has failed"), false
	case n.removed: // its state is that of the past, for ever
		return nil, ErrNotMember, false
	}
	out, err, keys := n.ask(&query{kind: machine.LocalQuery, input: input}, timedOut)
	return out, err, len(keys) > 0
}

// localQuery takes in a local query.
func (n *Node) localQuery(caller Caller, r *Request) {
	out, err, waits := n.LocalQuery(r.Input, false)
	switch {
	case !waits:
		n.env.Answer(caller, out, err)
	case n.crowded():
		n.env.Answer(caller, nil, n.failure(ErrBusy, "too many requests are under way"))
	default:
		n.pending++
		n.waits.park(n, query{machine.LocalQuery, false, caller, n.deadline(r), r.Input}, n.state.context.Effects().Waits)
	}
}

// enqueue lets a command wait for the next proposal, if there is room for its bytes.
func (n *Node) enqueue(c command) {
	n.pending++
	_, ours := c.caller.(*errand)
	if n.commands.bytes > 0 && n.commands.bytes+c.size() > n.cfg.MaxUncommitted && !ours {
		n.answer(c.caller, nil, n.failure(ErrBusy, "too many bytes are uncommitted"))
		return
	}
	n.commands.bytes += c.size()
	n.commands.gathered.count++
	n.commands.gathered.bytes += c.size()
	n.pace.came(1)
	n.commands.waiting = append(n.commands.waiting, c)
}

// answer answers a caller that was pending. A nil caller has been answered before.
func (n *Node) answer(caller Caller, result json.RawMessage, err *jsonrpc.Error) {
	if caller == nil {
		return
	}
	switch c := caller.(type) {
	case *adminOp:
		n.admin.inflight = nil
		caller = c.caller
	case *errand:
		*c.underway = false
		n.pending--
		return
	}
	n.pending--
	n.env.Answer(caller, result, err)
}

// Pending is the number of requests under way.
func (n *Node) Pending() int { return n.pending }

// Drain prepares for the end: new requests are refused, leadership is handed over, and what is under way goes on.
func (n *Node) Drain() {
	n.stopping = true
	n.HandOver()
	n.settleParked(n.Leaving(), n.failure(ErrUnknown, "the server is stopping"))
	if n.failed == nil && n.raft.raw != nil {
		n.proposeAbandon()
		n.unfinished = n.unfinished || n.abandoned.proposing
	}
}

// Led tells whether a leader is known.
func (n *Node) Led() bool { return n.identity == nil || n.raft.lead != 0 }

// Leaving is the answer to a request that a server gets while it is stopping: whom to ask instead, unless it leads
// itself.
func (n *Node) Leaving() *jsonrpc.Error {
	const reason = "the server is stopping"
	if n.identity != nil && n.raft.lead == n.identity.NodeID {
		return ErrRejected.Because(reason)
	}
	return n.failure(ErrRejected, reason)
}

// Stop answers everything that is pending; later requests are refused. What was handed to a leader may still be
// applied: that is 107. The rest certainly will not.
func (n *Node) Stop(reason string) {
	n.stopping = true
	unsent := n.failure(ErrRejected, reason)
	n.settleAll(unsent, n.failure(ErrUnknown, reason))
	n.expireStates(never)
}

// settleAll empties all lists: unsent answers what no leader has been given, sent the rest.
func (n *Node) settleAll(unsent, sent *jsonrpc.Error) {
	for _, op := range n.admin.queue {
		n.answer(op.caller, nil, unsent)
	}
	n.admin.queue = nil
	for _, c := range n.commands.waiting {
		n.answer(c.caller, nil, unsent)
	}
	n.commands.gathered.count -= len(n.commands.waiting)
	for i := range n.commands.waiting {
		n.commands.gathered.bytes -= n.commands.waiting[i].size()
	}
	n.commands.waiting, n.commands.bytes = nil, 0
	for _, b := range n.commands.sent {
		for i := range b.commands {
			n.answer(b.commands[i].caller, nil, sent)
		}
	}
	n.commands.sent = nil
	for _, q := range n.reads.waiting {
		n.answer(q.caller, nil, unsent)
	}
	for _, r := range n.reads.rounds {
		for _, q := range r.queries {
			n.answer(q.caller, nil, unsent)
		}
	}
	n.reads.waiting, n.reads.rounds = nil, nil
	n.answerSnapshots(func(c snapshotCaller) bool { n.answer(c.caller, nil, sent); return true })
	n.answerRemovals(func(r removalCaller) bool { n.answer(r.caller, nil, sent); return true })
	n.answerHashes(math.MaxUint64, nil, sent)
	n.settleParked(unsent, sent)
	if n.transfer.begun {
		unsent = sent
	}
	n.answer(n.transfer.caller, nil, unsent)
	n.transfer = transfer{}
}
