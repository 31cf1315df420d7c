package node

import (
	"bytes"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// deferrals are our callers whose commands are applied, and whose answers the machine has deferred (machine.Context.Defer).
// Every server's machine gives the answer; the server whose client waits passes it on.
type deferrals struct {
	by      map[machine.Ticket][]*parked // mostly one; more where a command was sent again in its session
	due     byDeadline
	ready   []ready // answers that are known, and not yet given out: ten thousand may be known at once
	counter uint64
}

// ready is an answer that is known.
type ready struct {
	caller Caller
	result json.RawMessage
	err    *jsonrpc.Error
	ticket machine.Ticket
	kept   bool // by a session
	told   bool // by Overdue
}

func newDeferrals() deferrals { return deferrals{by: map[machine.Ticket][]*parked{}} }

// deferAnswer lets a caller wait for the answer to a ticket, which a session may keep.
func (n *Node) deferAnswer(t machine.Ticket, w waiter, kept bool) {
	caller, ok := w.caller, false
	if n.stopping {
		n.answer(caller, nil, n.failure(ErrUnknown, "the server is stopping"))
	} else {
		caller, ok = n.admit(caller, 0, ErrUnknown)
	}
	if !ok {
		if !kept {
			n.abandon(t)
		}
		return
	}
	d := &n.deferred
	d.counter++
	p := &parked{query: query{caller: caller, deadline: w.deadline}, order: d.counter, ticket: t, kept: kept}
	p.at = len(d.by[t])
	d.by[t] = append(d.by[t], p)
	d.due.add(n, p)
}

// wanted tells whether the command that has just been applied defers its answer.
func (d *deferrals) wanted(ctx *machine.Context) bool { return ctx.Asked() && ctx.Effects().Deferred }

// remove takes one out that waits no longer.
func (d *deferrals) remove(p *parked) {
	d.due.remove(p)
	all := d.by[p.ticket]
	last := len(all) - 1
	all[p.at], all[last].at = all[last], p.at // NB: thousands may wait for one ticket
	all[last] = nil
	if d.by[p.ticket] = all[:last]; last == 0 {
		delete(d.by, p.ticket)
	}
}

// forsake answers a caller that waits no longer for a deferred answer, or can't: it will never get that.
func (n *Node) forsake(p *parked, why *jsonrpc.Error) {
	n.deferred.remove(p)
	n.answer(p.caller, nil, why)
	if !p.kept {
		n.abandon(p.ticket)
	}
}

// takeEffects carries out what the machine has asked for in a command, a timer or the end of a session.
func (n *Node) takeEffects() {
	if !n.state.context.Asked() {
		return
	}
	e := n.state.context.Effects()
	n.noteMisuse(e.Misuse)
	for i := range e.Answers {
		n.answerDeferred(&e.Answers[i])
	}
	for _, key := range e.Wakes {
		n.waits.wake(key)
	}
}

// answerDeferred answers those who wait for a ticket. In a session the outcome is kept, on every server.
func (n *Node) answerDeferred(a *machine.Answer) {
	callers, o := n.deferred.by[a.Ticket], n.state.system.sessions.deferred(a.Ticket)
	if len(callers) == 0 && o == nil {
		return
	}
	encode := encodeOutput
	if o != nil {
		encode = encodeOutcome
	}
	result, err := encode(a.Output, a.Err)
	if o != nil {
		n.state.system.sessions.settle(o, result, err)
	}
	delete(n.deferred.by, a.Ticket)
	for i, p := range callers {
		if i > 0 {
			result = bytes.Clone(result) // each is given away
		}
		n.deferred.due.remove(p)
		n.deferred.ready = append(n.deferred.ready, ready{p.caller, result, err, p.ticket, p.kept, false})
	}
}

// giveReady gives out answers, as long as there are bytes left to put out, and time. It returns what is left.
func (n *Node) giveReady(left int) int {
	d, count := &n.deferred, 0
	for count < len(d.ready) && left > 0 {
		if count%lookEvery == lookEvery-1 && n.env.Late() {
			break
		}
		r := &d.ready[count]
		n.give(r)
		left -= len(r.result) + 64
		*r = ready{}
		count++
	}
	if d.ready = d.ready[count:]; len(d.ready) == 0 {
		d.ready = nil
	}
	return left
}

// give gives out an answer.
func (n *Node) give(r *ready) {
	if n.abandoned.machine != nil && !r.kept && !r.told && !n.env.Reaches(r.caller) {
		n.abandon(r.ticket)
	}
	n.answer(r.caller, r.result, r.err)
}

// noteMisuse logs the first call of a method of machine.Context where it does nothing.
func (n *Node) noteMisuse(what string) {
	if what != "" && n.misused != what {
		n.misused = what
		n.log.Error("the machine called a method of its Context in the wrong place: it did nothing", "rule", what)
	}
}
