package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// admin are the requests that change the cluster and not the user's machine. They go through the log as commands do,
// and are decided when they are applied. Each server carries out those of its callers one at a time, in the order in
// which they came, so that pipelined ones mean what they say. An AddServer first asks who listens at the address; that
// question is asked already while it is near the head of the queue.
type admin struct {
	queue    []*adminOp
	inflight *adminOp // has left the queue, its command is not yet answered
	removals []removalCaller
	tokens   uint64
}

const (
	maxAdmin  = 1024 // requests in the queue: more than an operator's script asks for at once
	maxProbes = 4    // at the head of the queue: strangers may make this server dial any address, but few at once
)

type adminOp struct {
	caller   Caller
	deadline time.Duration
	request  Request
	token    uint64 // of its probe
	probed   bool
	who      Who
	err      error
}

// Who is what a server says of itself to anybody. ClusterID is empty and NodeID 0 if it belongs to no cluster.
type Who struct {
	Instance  string
	ClusterID string
	NodeID    uint64
	Version   int // of its machine
	Level     int // what its release can read (wire.Level)
}

// askAdmin takes in a request.
func (n *Node) askAdmin(caller Caller, deadline time.Duration, r *Request) {
	if len(n.admin.queue) >= maxAdmin {
		n.env.Answer(caller, nil, n.failure(ErrBusy, "too many changes of the cluster are asked for"))
		return
	}
	n.pending++
	n.admin.queue = append(n.admin.queue, &adminOp{caller: caller, deadline: deadline, request: *r})
	n.probe()
}

// probe asks for the AddServers at the head of the queue who listens at their addresses.
func (n *Node) probe() {
	for _, op := range n.admin.queue[:min(maxProbes, len(n.admin.queue))] {
		if op.request.Op == AddServer && op.token == 0 {
			n.admin.tokens++
			op.token = n.admin.tokens
			n.env.Probe(op.token, op.request.Addr)
		}
	}
}

// Probed brings the answer to Env.Probe.
func (n *Node) Probed(token uint64, who Who, err error) {
	for _, op := range n.admin.queue[:min(maxProbes, len(n.admin.queue))] {
		if op.token == token && op.request.Op == AddServer {
			op.probed, op.who, op.err = true, who, err
		}
	}
}

// advanceAdmin turns the request at the head of the queue into a command, when its turn has come.
func (n *Node) advanceAdmin() {
	for n.admin.inflight == nil && len(n.admin.queue) > 0 {
		op := n.admin.queue[0]
		n.probe()
		var c wire.System
		switch op.request.Op {
		case AddServer:
			refusal, ready := n.judge(op)
			if !ready {
				return
			}
			if refusal != nil {
				n.admin.next()
				n.answer(op.caller, nil, refusal)
				continue
			}
			c.AddServer = &wire.AddServer{Addr: op.request.Addr, Instance: op.who.Instance, Version: op.who.Version, Nonvoter: op.request.Voter != nil && !*op.request.Voter}
		case SetVoter:
			c.SetVoter = &wire.SetVoter{Addr: op.request.Addr, Voter: *op.request.Voter}
		case RemoveServer:
			c.RemoveServer = &wire.RemoveServer{Addr: op.request.Addr}
		case TakeSnapshot:
			if n.joinSnapshot(op.caller, op.deadline) {
				n.admin.next()
				continue
			}
			c.TakeSnapshot = &wire.TakeSnapshot{}
		case CheckState:
			if n.checkedJustNow() {
				n.admin.queue = n.admin.queue[1:]
				n.answer(op.caller, nil, n.failure(ErrBusy, "the state was checked within the last second"))
				continue
			}
			c.CheckState = &wire.CheckState{}
		case Configure:
			c.Configure = &wire.Configure{LeaseReads: op.request.Leases == Yes}
		}
		if lack := n.unread(&c, op.who.Level); lack != "" {
			n.admin.next()
			n.answer(op.caller, nil, n.failure(ErrBusy, lack))
			continue
		}
		n.admin.next()
		n.admin.inflight = op
		n.pending-- // enqueue counts it again
		n.enqueue(command{op, op.deadline, wire.Command{System: &c}})
	}
}

// next drops the head of the queue.
func (a *admin) next() { a.queue = slices.Delete(a.queue, 0, 1) }

// judge tells whether the server that AddServer names may be added. The last word is said when the entry is applied.
func (n *Node) judge(op *adminOp) (refusal *jsonrpc.Error, ready bool) {
	s := n.state.system
	switch who := op.who; {
	case !op.probed:
		return nil, false
	case op.err != nil && s.find(op.request.Addr) != 0:
		return nil, true // our list may be old: let the entry find out. Without an instance it adds nobody
	case op.err != nil:
		return ErrUnreachable.Because(op.err.Error()), true
	case who.ClusterID == "" && who.Level < s.Level:
		return ErrUnreachable.Because(fmt.Sprintf("its release is older than the cluster's data: it can read level %d, and that is %d; start it with a newer one", who.Level, s.Level)), true
	case who.ClusterID == "":
		return nil, true
	case who.ClusterID != n.identity.ClusterID:
		return ErrUnreachable.Because("it belongs to another cluster"), true
	case who.NodeID > n.state.applied.Index:
		return ErrServerExists, true // ids are log indexes: somebody has added it, and we have not read so far
	default:
		if _, member := s.Members[who.NodeID]; member {
			return nil, true // the same: it may have been removed meanwhile
		}
		return ErrUnreachable.Because(fmt.Sprintf("it was removed from this cluster as server %d; delete its file to add it anew", who.NodeID)), true
	}
}

// expireAdmin answers what still waits in the queue past its deadline. What has left it is a command like any other.
func (n *Node) expireAdmin() {
	kept := n.admin.queue[:0]
	for _, op := range n.admin.queue {
		switch {
		case !n.expired(op.deadline):
			kept = append(kept, op)
		case op.request.Op == AddServer && !op.probed:
			n.answer(op.caller, nil, n.failure(ErrUnreachable, "nobody answered there before the deadline"))
		default:
			n.answer(op.caller, nil, n.failure(ErrNoLeader, "its turn did not come before the deadline"))
		}
	}
	clear(n.admin.queue[len(kept):])
	n.admin.queue = kept
	n.probe()
}
