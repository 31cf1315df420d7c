package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// extras are what only some clients ask for: locks, alarms and watches, deadlines of their own, sessions; and clients
// who wait no longer. There are worlds without them too.
type extras struct {
	rng        *rand.Rand // nil: there are none. Its own, so that worlds without them stay what they were
	maxTimeout time.Duration
	maxWaiting int
	bounds     node.Bounds
}

func (e *extras) begin(w *world) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 2))
	if w.cfg.Load != nil || rng.IntN(3) == 0 {
		return
	}
	some := func(few, many int) int { return []int{few, many}[rng.IntN(2)] }
	e.rng, e.maxTimeout, e.maxWaiting = rng, max(w.clients.deadline, 4*time.Second), some(4, 100)
	e.bounds = node.Bounds{Sessions: some(3, 1000), Outcomes: some(4, 1000), SessionBytes: some(300, 1<<20),
		OutcomeBytes: some(900, 1<<20), Open: some(2, 1000), Sweep: some(1, 100)}
	w.after(time.Second, func() { e.crowd(w) })
	for range 1 + rng.IntN(3) {
		c := w.home
		if w.away != nil && rng.IntN(4) == 0 {
			c = w.away
		}
		v := &conversation{w: w, cluster: c}
		w.after(time.Second+e.about(time.Second), v.act)
	}
}

func (e *extras) chance(p float64) bool { return e.rng.Float64() < p }

func (e *extras) about(d time.Duration) time.Duration {
	return time.Duration(min(e.rng.ExpFloat64(), 8) * float64(d))
}

// vary makes some requests of clients others.
func (e *extras) vary(c *clients, id int, r *node.Request) {
	if e.rng == nil {
		return
	}
	if e.chance(0.25) {
		words := e.words()
		if e.chance(0.35) {
			key := fmt.Sprintf("k%d", e.rng.IntN(c.keys))
			words = fmt.Sprintf("watch %s %d", key, e.seen(c.w, key))
		}
		r.Kind, r.Input = machine.Command, json.RawMessage(fmt.Sprintf(`"%d %s"`, id, words))
		if isWatch(r.Input) {
			r.Kind = []machine.Kind{machine.Query, machine.LocalQuery}[e.rng.IntN(2)]
		}
	}
	if e.chance(0.3) {
		r.Deadline = e.timeout()
	}
}

// timeout draws a deadline; some are longer than a server allows.
func (e *extras) timeout() time.Duration {
	const ms = time.Millisecond
	return []time.Duration{100 * ms, 500 * ms, 2000 * ms, e.maxTimeout, 2 * e.maxTimeout}[e.rng.IntN(5)]
}

// words draws a command of timed.go.
func (e *extras) words() string {
	ms := []int{1, 30, 500, 3000}[e.rng.IntN(4)]
	switch p := e.rng.Float64(); {
	case p < 0.45:
		return fmt.Sprintf("hold l%d %d", e.rng.IntN(3), e.rng.IntN(ms))
	case p < 0.6:
		return fmt.Sprintf("release l%d", e.rng.IntN(3))
	case p < 0.85:
		return fmt.Sprintf("arm %d", e.rng.IntN(2*ms))
	case p < 0.92:
		return fmt.Sprintf("delay %d", e.rng.IntN(2*ms))
	}
	return fmt.Sprintf("fail k0 %d", 2000+e.rng.IntN(5))
}

// seen is a version that some client might know to have changed a key last.
func (e *extras) seen(w *world, key string) uint64 {
	if s := w.servers[e.rng.IntN(len(w.servers))]; s.node != nil {
		return s.m.state.Changed[key]
	}
	return 0
}

// equip gives some servers a wall clock that goes forth and back.
func (e *extras) equip(s *server) {
	if e.rng != nil {
		s.shaky = []time.Duration{0, 0, 20 * time.Millisecond}[e.rng.IntN(3)]
	}
}

func (e *extras) tremble(s *server) time.Duration {
	if s.shaky == 0 {
		return 0
	}
	return time.Duration(e.rng.Int64N(int64(2*s.shaky))) - s.shaky
}

// stand is what takes a caller's place while it waits for long.
type stand struct{ r *request }

// asked is the request of a caller.
func asked(c node.Caller) *request {
	if s, ok := c.(*stand); ok {
		return s.r
	}
	return c.(*request)
}

// park tells who waits in a caller's place. Now and then nobody may: its client has too many waiting already.
func (e *extras) park(w *world, c node.Caller) (node.Caller, bool) {
	r := asked(c)
	switch {
	case e.rng == nil:
		return c, true
	case r.gone, !w.clients.stopped && e.chance(0.02):
		return nil, false
	case r.id%2 == 0:
		r.stands = true
		return &stand{r}, true
	}
	return c, true
}

// crowd lets many wait for one key on one server, now and then.
func (e *extras) crowd(w *world) {
	if w.clients.stopped {
		return
	}
	w.after(e.about(4*time.Second), func() { e.crowd(w) })
	s := w.servers[e.rng.IntN(len(w.servers))]
	if s.node == nil {
		return
	}
	key := fmt.Sprintf("k%d", e.rng.IntN(w.clients.keys))
	for range 6 + e.rng.IntN(12) {
		kind := []machine.Kind{machine.Query, machine.LocalQuery}[e.rng.IntN(2)]
		w.clients.ask(s, kind, fmt.Sprintf("watch %s %d", key, s.m.state.Changed[key]))
	}
}

// woke is called when queries are woken. Some of their clients are gone before those run again.
func (e *extras) woke(s *server) {
	if len(s.m.parked) < 4 || s.w.clients.stopped || !e.chance(0.2) {
		return
	}
	s.post(func() {
		s.node.Forget(func(c node.Caller) bool { r := asked(c); return r.watch != "" && r.id%2 == 0 })
	})
}

// leave lets some clients wait no longer.
func (e *extras) leave(r *request) {
	if e.rng == nil || r.server.w.clients.stopped || r.request.Op != node.Apply || !e.chance(0.06) {
		return
	}
	s, run, cancels := r.server, r.server.run, e.chance(0.5)
	s.w.after(e.about(300*time.Millisecond), func() {
		if s.run != run || s.node == nil || r.answered {
			return
		}
		s.post(func() {
			if r.answered {
				return
			}
			s.w.tracef("%s < request %d waits no longer, told so: %v", s, r.id, cancels)
			s.w.result.Seen["gone"]++
			if cancels && !r.stands { // who may cancel is not taken the place of
				r.cancelled = true
				s.node.Request(r, &node.Request{Op: node.Cancel})
				return
			}
			r.gone = true
			s.w.after(e.about(100*time.Millisecond), func() { // it is looked at now and then
				if s.run == run && s.node != nil {
					s.post(func() { s.node.Forget(func(c node.Caller) bool { return asked(c) == r }) })
				}
			})
		})
	})
}
