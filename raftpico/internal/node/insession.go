package node

import (
	"bytes"
	"fmt"
	"math"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// sessionCommand is what a request about a session asks to be logged.
func sessionCommand(r *Request) *wire.System {
	id := &wire.SessionID{ID: r.Session.ID}
	switch r.Op {
	case KeepSession:
		return &wire.System{KeepSession: &wire.KeepSession{ID: r.Session.ID, Ack: r.Session.Ack}}
	case CloseSession:
		return &wire.System{CloseSession: id}
	}
	ttl := r.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	return &wire.System{OpenSession: &wire.OpenSession{TTL: ttl.Milliseconds()}}
}

// changeSession applies a command about sessions.
func (n *Node) changeSession(index uint64, c *wire.System) (result json.RawMessage, refusal *jsonrpc.Error, err error) {
	s := n.state.system.sessions
	id := n.state.system.sessionID(index)
	switch {
	case c.OpenSession != nil:
		if s.count() >= s.bounds.Sessions {
			return nil, n.failure(ErrBusy, "there are too many sessions"), nil
		}
		s.add(&session{id: id, ttl: c.OpenSession.TTL, last: n.state.time})
	case c.KeepSession != nil:
		id = c.KeepSession.ID
		var it *session
		if it, refusal, err = n.useSession(index, 0, id); it != nil {
			err = n.acknowledge(index, 0, it, c.KeepSession.Ack)
		}
	default:
		id = c.CloseSession.ID
		if _, refusal, err = n.useSession(index, 0, id); refusal == nil && err == nil {
			err = n.endSession(index, 0, id)
		}
	}
	if refusal == nil {
		result = json.RawMessage(fmt.Sprintf(`{"session":%d}`, id))
	}
	return result, refusal, err
}

// useSession finds a session, and notes its use.
func (n *Node) useSession(index uint64, offset int, id uint64) (it *session, refusal *jsonrpc.Error, err error) {
	s := n.state.system.sessions
	it = s.by[id]
	if it != nil && it.end() <= n.state.time { // no timer has come since
		it, err = nil, n.endSession(index, offset, id)
	}
	if it == nil {
		return nil, n.failure(ErrSessionEnded, "there is no such session, or not any more"), err
	}
	s.touch(it, n.state.time)
	return it, nil, nil
}

// endSession ends a session, and tells the machine.
func (n *Node) endSession(index uint64, offset int, id uint64) error {
	it := n.state.system.sessions.by[id]
	open := it.open(math.MaxUint64)
	n.state.system.sessions.drop(it)
	if err := n.abandonAll(index, offset, open); err != nil {
		return err
	}
	e, ok := n.state.machine.(machine.SessionEnder)
	if !ok {
		return nil
	}
	return n.upkeep("in OnSessionEnd", index, offset, func(ctx *machine.Context) { e.OnSessionEnd(ctx, id) })
}

// acknowledge forgets outcomes that a client has, or has given up: those that are deferred yet.
func (n *Node) acknowledge(index uint64, offset int, it *session, ack uint64) error {
	open := it.open(ack)
	n.state.system.sessions.forget(it, ack)
	return n.abandonAll(index, offset, open)
}

// answerOutcome answers a caller with what is kept. A result is given away, so the caller gets one of its own.
func (n *Node) answerOutcome(caller Caller, o *outcome) {
	if caller != nil {
		n.answer(caller, bytes.Clone(o.result), o.err)
	}
}

// applyInSession applies a command of a session: once, however often it comes.
func (n *Node) applyInSession(index uint64, offset int, c *wire.Command, w waiter) error {
	it, refusal, err := n.useSession(index, offset, c.Session.ID)
	if err != nil {
		return err
	}
	if refusal != nil {
		n.answer(w.caller, nil, refusal)
		return nil
	}
	s, seq := n.state.system.sessions, c.Session.Seq
	if err := n.acknowledge(index, offset, it, c.Session.Ack); err != nil {
		return err
	}
	switch o := it.find(seq); {
	case o != nil && o.done:
		n.answerOutcome(w.caller, o)
		return nil
	case o != nil:
		if w.caller != nil {
			n.deferAnswer(o.ticket, w, true)
		}
		return nil
	case seq <= it.acked:
		n.answer(w.caller, nil, n.failure(ErrSessionEnded, "the outcome of this seq is not kept any more"))
		return nil
	case len(it.outcomes) >= s.bounds.Outcomes || it.bytes >= s.bounds.SessionBytes:
		n.answer(w.caller, nil, n.failure(ErrBusy, "the session keeps too many outcomes: acknowledge those that were received"))
		return nil
	}
	output, failure, err := n.applyCommand(index, offset, it.id, c.Apply)
	if err != nil {
		return err
	}
	o := &outcome{of: it, seq: seq, ticket: machine.Ticket{Index: index, Offset: offset}}
	deferred := failure == nil && n.deferred.wanted(&n.state.context)
	if !deferred {
		o.set(encodeOutcome(output, failure))
	}
	s.keep(o) // before the effects: the machine may answer its ticket at once
	switch {
	case !deferred:
		n.answerOutcome(w.caller, o)
	case w.caller != nil:
		n.deferAnswer(o.ticket, w, true)
	}
	n.takeEffects()
	s.makeRoom()
	return nil
}
