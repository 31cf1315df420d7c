package node

import (
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
)

// This file holds what may be asked while the disk hangs. The core is then in the middle of a call to its environment,
// so nothing here may change it.

// Describe is the answer to a GetServerState without the machines. Lack, where not nil, says why they are missing.
func (n *Node) Describe(lack error) json.RawMessage { return n.describe(lack) }

// NotTaken is the answer to a request that the core has not been given before its deadline.
func (n *Node) NotTaken() *jsonrpc.Error { return n.failure(ErrNoLeader, noDisk) }

const noDisk = "the disk has not answered before the deadline"

// Overdue calls tell for each caller whose deadline is at most at, with what is certain about its request. The core
// does not note that, and answers these callers again later. Env.Answer must drop the second answer.
//
// NB: A command that still waits is answered 107, though no leader has it yet: the core may hand it over when the disk
// is back.
func (n *Node) Overdue(at time.Duration, tell func(c Caller, result json.RawMessage, err *jsonrpc.Error)) {
	unknown, unread := n.failure(ErrUnknown, noDisk), n.NotTaken()
	fail := func(c Caller, deadline time.Duration, err *jsonrpc.Error) {
		switch op := c.(type) {
		case *adminOp:
			c = op.caller
		case *errand: // nobody waits for it
			return
		}
		if c != nil && deadline <= at {
			tell(c, nil, err)
		}
	}
	for i := range n.commands.waiting {
		fail(n.commands.waiting[i].caller, n.commands.waiting[i].deadline, unknown)
	}
	for _, b := range n.commands.sent {
		for i := range b.commands {
			fail(b.commands[i].caller, b.commands[i].deadline, unknown)
		}
	}
	for _, q := range n.reads.waiting {
		fail(q.caller, q.deadline, unread)
	}
	for _, r := range n.reads.rounds {
		for _, q := range r.queries {
			fail(q.caller, q.deadline, unread)
		}
	}
	for _, op := range n.admin.queue {
		fail(op.caller, op.deadline, unknown)
	}
	for _, r := range n.admin.removals {
		fail(r.caller, r.deadline, unknown)
	}
	for _, c := range n.hashes.callers {
		fail(c.caller, c.deadline, unknown)
	}
	for _, c := range n.compaction.callers {
		fail(c.caller, c.deadline, unknown)
	}
	fail(n.transfer.caller, n.transfer.deadline, unknown)
	for _, p := range n.deferred.due {
		fail(p.caller, p.deadline, unknown)
	}
	for i := range n.deferred.ready {
		r := &n.deferred.ready[i]
		r.told = r.told || n.env.Reaches(r.caller)
		tell(r.caller, r.result, r.err)
	}
	last := func(p *parked) { // its machine is asked once, however long the disk hangs
		if p.told {
			return
		}
		p.told = true
		out, err, _ := n.ask(&p.query, true)
		tell(p.caller, out, err)
	}
	for _, p := range n.waits.due {
		if p.deadline <= at {
			last(p)
		}
	}
	for _, p := range n.waits.woken {
		if p != nil && p.timedOut && !p.gone {
			last(p)
		}
	}
	for _, callers := range [][]stateCaller{n.states.waiting, n.states.sharing} {
		for _, c := range callers {
			if c.deadline <= at {
				tell(c.caller, n.describe(errNotEncoded), nil)
			}
		}
	}
}
