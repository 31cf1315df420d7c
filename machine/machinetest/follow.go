package machinetest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/raftpico/go/machine"
)

// role is what a copy is there for.
type role int

const (
	// second gets the commands alone, as on another server. Its state is looked at in the end. In between it is captured,
	// and the capture written when commands have been applied since.
	second role = iota + 1
	// restored gets queries too, and is restored from snapshots of the first copy.
	restored
)

// follower makes the calls of the first copy on another one.
type follower struct {
	h      *harness
	role   role
	beside bool
	*replica
	restored bool
	writing  func() *fault // ends a capture, or nil
}

// follow plays what was played on the first copy, and compares.
func (h *harness) follow(role role, a *first, beside bool) *fault {
	r, f := newReplica(h)
	if f != nil {
		return f
	}
	b := &follower{h: h, role: role, beside: beside, replica: r}
	trace := a.trace
	if state, f := b.snapshot(); f != nil || state != a.start {
		return b.began(a, state, f)
	}
	for i, c := range trace {
		a.trace = trace[:i+1] // what a fault shows
		if f := b.call(c); f != nil {
			return b.hinted(f, a.trace)
		}
	}
	f = b.endWriting()
	if f == nil {
		var state string
		if state, f = b.snapshot(); f == nil {
			f = b.same(a.state, state)
		}
	}
	for _, c := range a.finale {
		if f != nil {
			break
		}
		a.trace = append(trace[:len(trace):len(trace)], c)
		f = b.compare(c)
	}
	if f == nil {
		a.trace = trace
	}
	return b.hinted(f, trace)
}

// hinted adds to a difference what is known of its cause. In a short script, each query has to do with it.
func (b *follower) hinted(f *fault, trace []*call) *fault {
	if f != nil && f.kind == copiesDiffer && b.role == second && slices.ContainsFunc(trace, (*call).reads) {
		f.hint = "The second machine has not got the queries: perhaps one changes what no snapshot shows. Or else: "
	}
	return f
}

// began tells why the machine's first state is not that of the first machine.
func (b *follower) began(a *first, state string, f *fault) *fault {
	if f != nil {
		return f
	}
	if f := b.steady(); f != nil {
		return f
	}
	a.trace = nil
	what := "New gives machines that differ, before any command:" + versus("first", a.start, "second", state)
	return &fault{kind: shared, what: what}
}

func (b *follower) call(c *call) *fault {
	switch {
	case c.op == restore && b.role == restored:
		return b.restore(c)
	case c.op == capture && b.role == second:
		return b.begin(c)
	case c.op == write && b.role == second:
		return b.endWriting()
	case c.writes(), c.reads() && b.role == restored:
		return b.compare(c)
	}
	return nil
}

// compare makes a call, and compares what comes of it.
func (b *follower) compare(c *call) *fault {
	res, f := b.do(c)
	if f != nil {
		return f
	}
	one := c.res
	switch {
	case res.answer != one.answer:
		return b.differs("answers to the last call", one.answer, res.answer)
	case !maps.Equal(res.answers, one.answers):
		return b.differs("deferred answers that it gives", answersText(one), answersText(res))
	case !slices.Equal(res.wakes, one.wakes):
		return b.differs("keys that it wakes", quoted(one.wakes), quoted(res.wakes))
	case !res.timer.Equal(one.timer):
		return b.differs("times that NextTimer tells", moment(one.timer), moment(res.timer))
	case res.hash != one.hash:
		return b.differs("hashes", fmt.Sprintf("%x", one.hash), fmt.Sprintf("%x", res.hash))
	}
	return nil
}

func answersText(r result) (text string) {
	for _, t := range sortedTickets(r.answers) {
		text += fmt.Sprintf("%d.%d: %s ", t.Index, t.Offset, r.answers[t])
	}
	return text
}

// same compares states.
func (b *follower) same(first, here string) *fault {
	if first == here {
		return nil
	}
	if f := b.steady(); f != nil {
		return f
	}
	return b.differs("states", first, here)
}

// differs is the fault of a difference.
func (b *follower) differs(what, first, here string) *fault {
	f := &fault{kind: copiesDiffer, what: "The " + what + " differ:"}
	name := "second"
	if b.restored {
		f.kind, name = restoredDiffers, "restored"
	}
	f.what += versus("first", first, name, here)
	return f
}

// restore makes the copy anew.
func (b *follower) restore(c *call) *fault {
	r, f := newReplica(b.h)
	if f != nil {
		return f
	}
	apply := func(inputs [][]byte) *fault {
		for i, in := range inputs {
			if f := r.soil(i, in); f != nil {
				return f
			}
		}
		return nil
	}
	half := len(c.dirt) / 2
	if f = apply(c.dirt[:half]); f == nil {
		f = r.load(c.after, func() *fault { return apply(c.dirt[half:]) }, b.beside)
	}
	if f != nil {
		return f
	}
	r.kept = append(r.kept, b.kept...) // of the machine that is no more: it stays as it is
	b.replica, b.restored = r, true
	state, f := b.snapshot()
	if f != nil {
		return f
	}
	return b.same(c.after, state)
}

// soil applies a command to a machine whose state will be replaced.
func (r *replica) soil(i int, input []byte) *fault {
	newest, f := r.version()
	if m, ok := r.m.(machine.Needer); ok && f == nil && newest > 0 {
		needs := 0
		if f = guard("Needs of "+short(input), func() { needs = m.Needs(input) }); needs > 0 {
			return f
		}
	}
	if f != nil {
		return f
	}
	ctx := machine.Context{Kind: machine.Command, Cluster: clusterID}
	ctx.Index, ctx.Time = uint64(1000+i), epoch.AddDate(1, 0, i)
	if _, f = r.do(&call{op: command, input: input, ctx: ctx}); f != nil {
		f.what = "Before it is restored: " + f.what
	}
	return f
}

// begin captures the state, to be written later, or beside what follows.
func (b *follower) begin(c *call) *fault {
	if f := b.endWriting(); f != nil {
		return f
	}
	state, f := b.snapshot() // a copy that differs already is no fault of what comes now
	if f == nil {
		f = b.same(c.after, state)
	}
	if f != nil {
		return f
	}
	write, f := b.capture()
	if f != nil {
		return f
	}
	finish := func() *fault {
		state, f := write(c.stop)
		if f != nil || c.stop || state == c.after {
			return f
		}
		what := "The snapshot that was written later is not that of the capture:"
		return &fault{kind: lateCapture, what: what + versus("captured", c.after, "written", state)}
	}
	b.writing = finish
	if b.beside {
		done := make(chan *fault, 1)
		go func() { done <- finish() }()
		b.writing = func() *fault { return <-done }
	}
	return nil
}

// endWriting waits for the end of a write, if one is under way.
func (b *follower) endWriting() *fault {
	finish := b.writing
	b.writing = nil
	if finish == nil {
		return nil
	}
	return finish()
}
