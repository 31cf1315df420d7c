package node

import (
	"fmt"
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// applyBatch applies the commands of an entry, and answers those of our callers who wait for them.
func (n *Node) applyBatch(index uint64, b *wire.Batch) error {
	n.state.time = max(n.state.time, b.Time) // a leader whose clock is behind does not turn time back
	n.clock.applied(n.state.time)
	ours, isOurs := n.takeSent(b), n.isOurs(b)
	switch {
	case n.raft.role == raft.StateLeader:
		n.answered(len(b.Commands)) // also those that were put to others, who pass on what comes next
	case ours != nil:
		n.answered(len(ours.commands))
	}
	for i := range b.Commands {
		w := waiter{deadline: n.clock.elapsed, ours: isOurs}
		if ours != nil && i < len(ours.commands) {
			w.caller, w.deadline = ours.commands[i].caller, ours.commands[i].deadline
		}
		if err := n.applyOne(index, i, &b.Commands[i], w); err != nil {
			for ; ours != nil && i < len(ours.commands); i++ {
				n.answer(ours.commands[i].caller, nil, n.failure(ErrUnknown, "the server has failed"))
			}
			return err
		}
	}
	return nil
}

// waiter is who waits for a command, and how long.
type waiter struct {
	caller   Caller // nil: nobody does here, or not any more
	deadline time.Duration
	ours     bool // it was one of our callers
}

// applyOne applies a command, and answers who waits for it. An error ends the server, and leaves the answer open.
func (n *Node) applyOne(index uint64, offset int, c *wire.Command, w waiter) error {
	switch {
	case c.System != nil && c.System.TakeSnapshot != nil:
		if w.caller == nil {
			w.deadline = n.clock.elapsed + n.cfg.Deadline
		}
		n.takeSnapshot(index, w.caller, w.deadline)
		return nil
	case c.System != nil && c.System.CheckState != nil:
		n.checkState(index, w.caller, w.deadline)
		return nil
	}
	n.hashes.dirty = true
	switch {
	case c.System != nil:
		return n.applySystem(index, c.System, w)
	case c.Session != nil:
		return n.applyInSession(index, offset, c, w)
	}
	output, failure, err := n.applyCommand(index, offset, 0, c.Apply)
	if err != nil {
		return err
	}
	ticket, deferred := machine.Ticket{Index: index, Offset: offset}, failure == nil && n.deferred.wanted(&n.state.context)
	switch {
	case w.caller == nil && w.ours && deferred:
		n.abandon(ticket)
	case w.caller == nil: // an output is encoded only where somebody waits for it
	case deferred:
		n.deferAnswer(ticket, w, false)
	default:
		result, err := encodeOutput(output, failure)
		n.answer(w.caller, result, err)
	}
	n.takeEffects() // afterwards: the machine may answer its ticket at once
	return nil
}

// applySystem applies a command of the framework's own, and answers who waits for it.
func (n *Node) applySystem(index uint64, c *wire.System, w waiter) error {
	switch {
	case c.Timer != nil:
		err := n.applyTimer(index, c.Timer)
		if err == nil {
			n.answer(w.caller, nil, nil)
		}
		return err
	case c.Abandon != nil:
		err := n.applyAbandon(index, c.Abandon)
		if err == nil {
			n.answer(w.caller, nil, nil)
		}
		return err
	case c.OpenSession != nil, c.KeepSession != nil, c.CloseSession != nil:
		result, refusal, err := n.changeSession(index, c)
		if err == nil {
			n.answer(w.caller, result, refusal)
		}
		return err
	}
	n.readLevel(c)
	losing := n.state.system.losing(c)
	result, refusal := n.changeMembers(index, c)
	if err := behind(n.versions.own, n.state.system.Version); err != nil {
		return err
	}
	if losing != 0 && refusal == nil && w.caller != nil {
		n.awaitProof(losing, w.caller, w.deadline, result)
	} else {
		n.answer(w.caller, result, refusal)
	}
	return nil
}

// changeMembers applies a command to the member list, or to the version.
func (n *Node) changeMembers(index uint64, c *wire.System) (json.RawMessage, *jsonrpc.Error) {
	s := n.state.system
	what, facts, refusal := s.change(index, c, n.raft.log.conf.GetVoters())
	if refusal != nil && refusal.Code == ErrNotMember.Code { // it tells the leader, so that nobody takes this server for a stranger
		refusal = n.failure(ErrNotMember, "no member has that address")
	}
	if refusal != nil {
		return nil, refusal
	}
	if what != "" {
		n.log.Info(what, facts...)
	}
	n.linkPeers()
	if c.Configure != nil {
		return []byte("null"), nil
	}
	return s.result(), nil
}

// change applies a command to the member list, to the version, or to what holds for the cluster, where these are the voters. What it has done is for the
// log; it is empty if nothing has changed.
func (s *system) change(index uint64, c *wire.System, voters []uint64) (what string, facts []any, refusal *jsonrpc.Error) {
	switch {
	case c.AddServer != nil:
		if refusal = s.add(index, c.AddServer); refusal == nil {
			return "server added", []any{"server", index, "addr", c.AddServer.Addr, "voter", !c.AddServer.Nonvoter}, nil
		}
	case c.SetVoter != nil:
		if refusal = s.setVoter(c.SetVoter, voters); refusal == nil {
			return "server is to vote or to learn", []any{"addr", c.SetVoter.Addr, "voter", c.SetVoter.Voter}, nil
		}
	case c.RemoveServer != nil:
		if refusal = s.remove(c.RemoveServer, voters); refusal == nil {
			return "server removed", []any{"addr", c.RemoveServer.Addr, "dead", c.RemoveServer.ID != 0}, nil
		}
	case c.MoveServer != nil:
		if s.move(c.MoveServer) {
			return "server moved", []any{"server", c.MoveServer.ID, "addr", c.MoveServer.Addr}, nil
		}
	case c.Configure != nil:
		s.LeaseReads = c.Configure.LeaseReads
		return "configured", []any{"lease_reads", s.LeaseReads}, nil
	case c.SetVersion != nil:
		if s.raise(c.SetVersion) {
			return "machine version raised", []any{"version", s.Version, "index", index}, nil
		}
	}
	return "", nil, refusal
}

// applyCommand hands a command to the user's machine. A panic ends the server: every replica would panic alike, and
// a machine left half-way must not be served from.
func (n *Node) applyCommand(index uint64, offset int, session uint64, input json.RawMessage) (output any, failure, fatal error) {
	defer func() {
		if p := recover(); p != nil {
			fatal = panicked(fmt.Sprintf("at index %d, offset %d, input %.1024s", index, offset, input), p)
		}
	}()
	ctx := n.context(machine.Command, index, offset)
	ctx.Session = session
	if failure = n.tooNew(input); failure != nil {
		return nil, failure, nil
	}
	output, failure = n.state.machine.Apply(ctx, input)
	return output, failure, nil
}

// validate lets the machine refuse a command's input before it is logged.
func (n *Node) validate(input json.RawMessage) (err *jsonrpc.Error) {
	defer func() {
		if p := recover(); p != nil {
			n.log.Error("the machine panicked", Facts(panicked("in Validate", p))...)
			err = jsonrpc.ErrInternal.Because("the machine panicked")
		}
	}()
	failure := n.tooNew(input)
	if v, ok := n.state.machine.(machine.Validator); ok && failure == nil {
		failure = v.Validate(input)
	}
	if failure != nil {
		_, err = encodeOutput(nil, failure)
	}
	return err
}
