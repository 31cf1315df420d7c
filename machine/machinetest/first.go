package machinetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
)

// first is the first copy, and the server around it: it makes of a script the calls that the other copies get too. The
// state is looked at after each of them.
type first struct {
	h *harness
	*replica
	trace []*call

	index   uint64 // of the last entry
	offset  int
	now     time.Time // the leader's clock
	applied time.Time // of the last entry
	cluster int       // the cluster's version of the machine
	newest  int       // the one that the machine knows
	state   string

	sessions []uint64
	parked   []*call
	claims   claims

	judged map[string]string // what Validate and Needs said, by the input
	states map[uint64]string // by their hashes
	hashes map[string]uint64 // and the other way round

	start  string  // the state of a new machine
	finale []*call // queries of the samples, at the end
}

const (
	maxParked  = 8    // queries that wait; the oldest is timed out then
	clusterID  = "c1" // of Context.Cluster
	firstIndex = 2    // of a command: the cluster is created by the first entry
)

// epoch is when clusters are created.
var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func newFirst(h *harness) (*first, *fault) {
	r, f := newReplica(h)
	a := &first{
		h: h, replica: r, now: epoch, claims: newClaims(),
		judged: map[string]string{}, states: map[uint64]string{}, hashes: map[string]uint64{},
	}
	if f != nil {
		return a, f
	}
	if a.newest, f = r.version(); f != nil {
		return a, f
	}
	if a.start, f = r.snapshot(); f != nil {
		return a, f
	}
	a.state = a.start
	return a, nil
}

// version is the newest one that the machine knows.
func (r *replica) version() (version int, f *fault) {
	v, ok := r.m.(machine.Versioned)
	if !ok {
		return 0, nil
	}
	if f = guard("Version", func() { version = v.Version() }); f == nil && version < 0 {
		f = blame(wrongVersion, "Version is %d.", version)
	}
	return version, f
}

// play plays a script to its end.
func (a *first) play(s script) *fault {
	for _, st := range s.steps {
		if f := a.step(st); f != nil {
			return f
		}
	}
	return a.end()
}

// end lets those who wait time out, and asks all samples once more.
func (a *first) end() *fault {
	for len(a.parked) > 0 {
		if f := a.expire(0); f != nil {
			return f
		}
	}
	trace := a.trace
	for _, in := range a.h.samples {
		if f := a.ask(step{op: query, input: in}); f != nil {
			return f
		}
		a.finale = append(a.finale, a.trace[len(a.trace)-1])
		a.trace = trace
	}
	a.parked = nil
	version, f := a.version()
	if f == nil && version != a.newest {
		f = blame(wrongVersion, "Version was %d and is now %d.", a.newest, version)
	}
	return f
}

func (a *first) step(st step) *fault {
	switch st.op {
	case command:
		return a.command(st)
	case query, local:
		return a.ask(st)
	case pass:
		a.note(&call{op: pass})
		a.now = a.now.Add(st.after)
		return a.runTimers()
	case open:
		a.enter(0)
		a.sessions = append(a.sessions, a.index)
		a.note(&call{op: open, session: a.index})
	case end:
		return a.endSession(st.n)
	case raise:
		if a.cluster < a.newest {
			a.cluster += 1 + st.n%(a.newest-a.cluster)
			a.parked = nil // what they wait for may be another thing now
			a.note(&call{op: raise, ctx: machine.Context{Version: a.cluster}})
		}
	case restore:
		a.note(&call{op: restore, dirt: st.dirt, after: a.state})
	case capture, write:
		a.note(&call{op: st.op, stop: st.n%4 == 0, after: a.state})
	case abandon, expire:
		if _, ok := machine.AsAbandoner(a.m); ok && st.op == abandon {
			return a.abandonSome(st.n)
		}
		if len(a.parked) > 0 {
			return a.expire(st.n % len(a.parked))
		}
	}
	return nil
}

func (a *first) note(c *call) { a.trace = append(a.trace, c) }

// enter begins a log entry.
func (a *first) enter(gap int) {
	a.index = max(a.index+1, firstIndex) + uint64(gap)
	a.offset = 0
	if a.now.After(a.applied) {
		a.applied = a.now
	}
}

// context is what the machine is told.
func (a *first) context(kind machine.Kind) machine.Context {
	if a.index == 0 { // this server belongs to no cluster
		return machine.Context{Kind: machine.LocalQuery, Time: time.UnixMilli(0).UTC()}
	}
	return machine.Context{
		Kind: kind, Cluster: clusterID, Version: a.cluster,
		Index: a.index, Offset: a.offset, Time: a.applied,
	}
}

// command applies a command, unless it is refused before it is logged.
func (a *first) command(st step) *fault {
	a.now = a.now.Add(st.after)
	if !st.late {
		if f := a.runTimers(); f != nil {
			return f
		}
	}
	refusal, f := a.judge(st.input)
	if f != nil {
		return f
	}
	if refusal != "" {
		a.note(&call{op: turnedAway, input: st.input, refusal: refusal})
		return nil
	}
	if n := len(a.trace); st.joins && n > 0 && a.trace[n-1].op == command {
		a.offset += 1 + st.gap
	} else {
		a.enter(st.gap)
	}
	c := &call{op: command, input: st.input, ctx: a.context(machine.Command)}
	if st.n > 0 && len(a.sessions) > 0 {
		c.ctx.Session = a.sessions[st.n%len(a.sessions)]
	}
	f = a.change(c)
	if f == nil && !c.res.failed {
		a.h.taken++
	}
	return f
}

// endSession ends one of the open sessions.
func (a *first) endSession(n int) *fault {
	if len(a.sessions) == 0 {
		return nil
	}
	n %= len(a.sessions)
	c := &call{op: end, session: a.sessions[n]}
	a.sessions = slices.Delete(a.sessions, n, n+1)
	a.enter(0)
	if f := a.abandonSession(c.session); f != nil {
		return f
	}
	if _, ok := a.m.(machine.SessionEnder); !ok {
		a.note(c)
		return nil
	}
	c.ctx = a.context(machine.Command)
	c.ctx.Upkeep = true
	return a.change(c)
}

// Timers: at most maxTimers run in a step, as a leader may be behind. One that stays for maxStill calls always will.
const (
	maxTimers = 100
	maxStill  = 1000
)

// runTimers runs what is due by the leader's clock.
func (a *first) runTimers() *fault {
	if _, ok := a.m.(machine.Timer); !ok {
		return nil
	}
	res, f := a.look(result{})
	still, idle := 0, 0
	for ran := 0; f == nil && !res.timer.IsZero() && !res.timer.After(a.now) && (ran < maxTimers || still > 0); ran++ {
		before, state := res.timer, a.state
		a.enter(0) // at a.now, a whole millisecond: not before NextTimer
		c := &call{op: upkeep, ctx: a.context(machine.Command)}
		c.ctx.Upkeep = true
		f = a.change(c)
		res = c.res
		if still++; !res.timer.Equal(before) {
			still = 0
		}
		if idle++; still == 0 || a.state != state || len(c.res.answers) > 0 {
			idle = 0
		}
		if f == nil && (still == maxStill || idle == 3) {
			f = blame(timerStays, "OnTimer ran %d times, and NextTimer still is %s.", still, moment(before))
		}
		if still > 3 {
			a.trace = slices.Delete(a.trace, len(a.trace)-1, len(a.trace)) // to be told once more means nothing
		}
	}
	return f
}

// change carries out a call that may change the state, and looks at what comes of it.
func (a *first) change(c *call) *fault {
	a.note(c)
	res, f := a.do(c)
	c.res = res
	if f != nil {
		return f
	}
	if a.state, f = a.snapshot(); f != nil {
		return f
	}
	c.after = a.state
	if f := a.pure("Snapshot, NextTimer and Hash change nothing"); f != nil {
		return f
	}
	if f := a.claims.note(c); f != nil {
		return f
	}
	if f := a.hashed(res.hash); f != nil {
		return f
	}
	return a.wake(c)
}

// hashed holds the hash against the state.
func (a *first) hashed(hash uint64) *fault {
	if _, ok := a.m.(machine.Hasher); !ok {
		return nil
	}
	if state, ok := a.states[hash]; ok && state != a.state {
		what := fmt.Sprintf("Hash is %x for two states:", hash) + versus("one", state, "two", a.state)
		return &fault{kind: wrongHash, what: what}
	}
	if before, ok := a.hashes[a.state]; ok && before != hash {
		what := fmt.Sprintf("Hash was %x, and is %x for the same state: %s", before, hash, short([]byte(a.state)))
		return &fault{kind: wrongHash, what: what}
	}
	a.states[hash], a.hashes[a.state] = a.state, hash
	return nil
}

// pure tells whether the state is what it was.
func (a *first) pure(what string) *fault {
	state, f := a.snapshot()
	if f != nil || state == a.state {
		return f
	}
	if f := a.steady(); f != nil {
		return f
	}
	what += ". But the state is another one now:" + versus("before", a.state, "after", state)
	return &fault{kind: readWrites, what: what}
}
