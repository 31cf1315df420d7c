package node

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// applyBatch applies the commands of an entry, and answers those of our callers who wait for them.
func (n *Node) applyBatch(index uint64, b *wire.Batch) error {
	n.state.time = max(n.state.time, b.Time) // a leader whose clock is behind does not turn time back
	ours := n.takeSent(b)
	switch {
	case n.raft.role == raft.StateLeader:
		n.answered(len(b.Commands)) // also those that were put to others, who pass on what comes next
	case ours != nil:
		n.answered(len(ours.commands))
	}
	for i := range b.Commands {
		var caller Caller
		if ours != nil && i < len(ours.commands) {
			caller = ours.commands[i].caller
		}
		c := &b.Commands[i]
		if c.TakeSnapshot != nil {
			deadline := n.clock.elapsed + n.cfg.Deadline
			if caller != nil {
				deadline = ours.commands[i].deadline
			}
			n.takeSnapshot(index, caller, deadline)
			continue
		}
		if c.CheckState != nil {
			deadline := n.clock.elapsed
			if caller != nil {
				deadline = ours.commands[i].deadline
			}
			n.checkState(index, caller, deadline)
			continue
		}
		n.hashes.dirty = true
		if c.Apply == nil {
			result, err := n.applySystem(index, c)
			if err := behind(n.versions.own, n.state.system.Version); err != nil {
				return err
			}
			if c.RemoveServer != nil && err == nil && caller != nil {
				n.awaitRemoval(caller, ours.commands[i].deadline, c.RemoveServer.Addr, result)
			} else {
				n.answer(caller, result, err)
			}
			continue
		}
		output, failure, err := n.applyCommand(index, i, c.Apply)
		if err != nil {
			for ; ours != nil && i < len(ours.commands); i++ {
				n.answer(ours.commands[i].caller, nil, n.failure(ErrUnknown, "the server has failed"))
			}
			return err
		}
		if caller != nil { // an output is encoded only where somebody waits for it
			result, err := encodeOutput(output, failure)
			n.answer(caller, result, err)
		}
	}
	return nil
}

// applySystem applies a command to the member list.
func (n *Node) applySystem(index uint64, c *wire.Command) (json.RawMessage, *jsonrpc.Error) {
	s := n.state.system
	var refusal *jsonrpc.Error
	switch {
	case c.AddServer != nil:
		if refusal = s.add(index, c.AddServer); refusal == nil {
			n.log.Info("server added", "server", index, "addr", c.AddServer.Addr)
		}
	case c.RemoveServer != nil:
		if refusal = s.remove(c.RemoveServer, n.raft.log.conf.GetVoters()); refusal == nil {
			n.log.Info("server removed", "addr", c.RemoveServer.Addr)
		}
	case c.SetVersion != nil:
		if s.raise(c.SetVersion) {
			n.log.Info("machine version raised", "version", s.Version, "index", index)
		}
	}
	if refusal != nil {
		return nil, refusal
	}
	n.linkPeers()
	return s.result(), nil
}

// applyCommand hands a command to the user's machine. A panic ends the server: every replica would panic alike, and
// a machine left half-way must not be served from.
func (n *Node) applyCommand(index uint64, offset int, input json.RawMessage) (output any, failure, fatal error) {
	defer func() {
		if p := recover(); p != nil {
			fatal = panicked(fmt.Sprintf("at index %d, offset %d, input %.1024s", index, offset, input), p)
		}
	}()
	if failure = n.tooNew(input); failure != nil {
		return nil, failure, nil
	}
	output, failure = n.state.machine.Apply(n.context(machine.Command, index, offset), input)
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

// maxDepth bounds the nesting of what a machine puts out: the depth of inputs, and room for the machine's own.
const maxDepth = 1024

var null = json.RawMessage("null")

// encodeOutput turns what a machine answered into JSON, or into the error that its client gets.
func encodeOutput(output any, failure error) (result json.RawMessage, refusal *jsonrpc.Error) {
	defer func() { // a method of the output may panic
		if p := recover(); p != nil {
			result, refusal = nil, ErrInvalidOutput.Because(fmt.Sprint(p))
		}
	}()
	if failure != nil {
		return nil, encodeFailure(failure)
	}
	switch raw := output.(type) {
	case nil:
		return null, nil
	case json.RawMessage:
		switch {
		case raw == nil:
			return null, nil
		case len(bytes.TrimSpace(raw)) == 0:
			return nil, ErrNoOutput
		}
		if err := jsonrpc.Valid(raw, maxDepth); err != nil {
			return nil, ErrInvalidOutput.Because(err.Error())
		}
		return jsonrpc.Compact(raw), nil
	}
	result, err := wire.Marshal(output)
	if err != nil {
		return nil, ErrInvalidOutput.Because(err.Error())
	}
	return result, nil
}

func encodeFailure(failure error) *jsonrpc.Error {
	var own *machine.Error
	switch {
	case errors.Is(failure, machine.ErrNoOutput):
		return ErrNoOutput
	case errors.As(failure, &own) && own.Code >= 1000:
		e := &jsonrpc.Error{Code: own.Code, Message: own.Message}
		if own.Data != nil {
			data, err := wire.Marshal(own.Data)
			if err != nil {
				return ErrInvalidOutput.Because(err.Error())
			}
			e.Data = data
		}
		return e
	}
	return ErrInvalidInput.Because(failure.Error())
}
