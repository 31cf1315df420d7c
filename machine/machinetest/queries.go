package machinetest

import (
	"fmt"
	"slices"

	"github.com/raftpico/go/machine"
)

// The queries of the first copy, those that wait among them, and what judges commands before they are logged.

// ask runs a query. If it waits, it is parked.
func (a *first) ask(st step) *fault {
	kind := machine.Query
	if st.op == local {
		kind = machine.LocalQuery
	}
	c := &call{op: st.op, input: st.input, ctx: a.context(kind)}
	a.note(c)
	f := a.read(c)
	if f != nil || len(c.res.waits) == 0 {
		return f
	}
	if a.parked = append(a.parked, c); len(a.parked) > maxParked {
		return a.expire(0)
	}
	return nil
}

// read carries out a query, which must change nothing.
func (a *first) read(c *call) (f *fault) {
	if c.res, f = a.do(c); f != nil {
		return f
	}
	return a.pure(fmt.Sprintf("A %s changes nothing", c.ctx.Kind))
}

// repeat runs a parked query once more.
func (a *first) repeat(parked *call, why string) (*call, *fault) {
	c := &call{op: parked.op, input: parked.input, ctx: a.context(parked.ctx.Kind), again: why}
	c.ctx.TimedOut = why == deadline
	a.note(c)
	return c, a.read(c)
}

const (
	deadline = "its deadline has come"
	woken    = "it was woken"
	probed   = "nobody has woken it, but its answer has come"
)

// expire lets the deadline of a parked query come.
func (a *first) expire(i int) *fault {
	parked := a.parked[i]
	a.parked = slices.Delete(a.parked, i, i+1)
	_, f := a.repeat(parked, deadline)
	return f
}

// wake runs the parked queries again that a call has woken. None of the others may have an answer by now, unless OnTimer
// is due, which may wake them.
func (a *first) wake(cause *call) *fault {
	due := !cause.res.timer.IsZero() && !cause.res.timer.After(a.applied)
	parked := a.parked
	a.parked = nil
	for _, p := range parked {
		why := probed
		if slices.ContainsFunc(p.res.waits, func(key string) bool { return slices.Contains(cause.res.wakes, key) }) {
			why = woken
		} else if due {
			a.parked = append(a.parked, p)
			continue
		}
		c, f := a.repeat(p, why)
		if f != nil {
			return f
		}
		waits := len(c.res.waits) > 0
		switch {
		case why == woken && waits:
			a.parked = append(a.parked, c) // it may wait for something else now
		case why == probed && !waits:
			what := "The %s %s waits for %s. It has an answer since the %s, which has not called Wake for that."
			what = fmt.Sprintf(what, p.ctx.Kind, short(p.input), quoted(p.res.waits), cause.method())
			return &fault{kind: lostWake, what: what}
		case why == probed:
			a.parked = append(a.parked, p)
			a.trace = a.trace[:len(a.trace)-1]
		}
	}
	return nil
}

// judge asks Needs and Validate, as the server that was asked does. It returns why a command is refused, or "".
func (a *first) judge(input []byte) (refusal string, f *fault) {
	c := &call{op: command, input: input}
	if m, ok := a.m.(machine.Needer); ok && a.cluster < a.newest {
		needs := 0
		text := func() string { return fmt.Sprint(needs) }
		if f := a.asked(c, "Needs", func(in []byte) { needs = m.Needs(in) }, text); f != nil {
			return "", f
		}
		if needs > a.cluster {
			return fmt.Sprintf("it needs version %d, and the cluster has %d", needs, a.cluster), nil
		}
	}
	m, ok := a.m.(machine.Validator)
	if !ok {
		return "", nil
	}
	var err error
	text := func() string {
		if err == nil {
			return "no error"
		}
		return "error: " + err.Error()
	}
	if f := a.asked(c, "Validate", func(in []byte) { err = m.Validate(in) }, text); f != nil || err == nil {
		return "", f
	}
	return text(), a.defy(c)
}

// asked calls a method that must judge an input alone.
func (a *first) asked(c *call, method string, ask func(input []byte), told func() string) *fault {
	in := slices.Clone(c.input)
	a.keep(in, inputChanged, "the input "+short(in))
	what := method + " of " + short(in)
	f := guard(what, func() { ask(in) })
	if f == nil {
		f = a.unchanged()
	}
	if f == nil {
		f = a.pure(method + " changes nothing")
	}
	if f != nil {
		return f
	}
	key := method + string(c.input)
	before, ok := a.judged[key]
	if ok && before != told() {
		return &fault{kind: judgesState, what: what + " depends on the state:" + versus("before", before, "now", told())}
	}
	a.judged[key] = told()
	return nil
}

// defy applies a command that Validate refuses, to a copy: a server with an older build, which knows nothing against it,
// may have logged it.
func (a *first) defy(c *call) *fault {
	r, f := newReplica(a.h)
	if f == nil {
		f = r.load(a.state, func() *fault { return nil }, false)
	}
	if f != nil {
		return f
	}
	ctx := a.context(machine.Command)
	ctx.Kind, ctx.Index = machine.Command, a.index+1
	if _, f = r.do(&call{op: command, input: c.input, ctx: ctx}); f != nil && f.kind == panics {
		f.what = "Validate refuses the command, but an older build may have logged it, and then " + f.what
		return f
	}
	return nil
}
