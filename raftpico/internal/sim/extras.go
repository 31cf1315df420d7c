package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// extras are what only some clients ask for: locks, alarms and watches, deadlines of their own, sessions; and clients who
// wait no longer. A world without them is there too.
type extras struct {
	rng        *rand.Rand // nil: there are none. Its own, so that worlds without them stay what they were
	maxTimeout time.Duration
}

func (e *extras) begin(w *world) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 2))
	if w.cfg.Load != nil || rng.IntN(3) == 0 {
		return
	}
	e.rng, e.maxTimeout = rng, max(w.clients.deadline, 4*time.Second)
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
	return []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, e.maxTimeout, 2 * e.maxTimeout}[e.rng.IntN(5)]
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
			if cancels {
				r.cancelled = true
				s.node.Request(r, &node.Request{Op: node.Cancel})
				return
			}
			s.node.Forget(func(c node.Caller) bool { return c == node.Caller(r) })
		})
	})
}
