//go:build unix

package torture

import "time"

// networkFaults are what happens between servers. Clients reach all of them all the time.
func networkFaults() []fault {
	return []fault{
		{name: "isolate the leader", alone: true, inject: func(r *run) func() {
			leader, _ := r.leader()
			return r.change(func(from, to int, w *weather) { w.cut = w.cut || from == leader.id || to == leader.id })
		}},
		{name: "isolate one", inject: func(r *run) func() {
			one := r.any()
			return r.change(func(from, to int, w *weather) { w.cut = w.cut || from == one || to == one })
		}},
		{name: "the leader is deaf", alone: true, inject: func(r *run) func() {
			leader, _ := r.leader()
			return r.change(func(_, to int, w *weather) { w.cut = w.cut || to == leader.id })
		}},
		{name: "the leader is mute", alone: true, inject: func(r *run) func() {
			leader, _ := r.leader()
			return r.change(func(from, _ int, w *weather) { w.cut = w.cut || from == leader.id })
		}},
		{name: "one way cut", inject: func(r *run) func() {
			pair := r.rng.Perm(len(r.servers))
			return r.change(func(from, to int, w *weather) { w.cut = w.cut || from == pair[0] && to == pair[1] })
		}},
		{name: "two don't hear each other", inject: func(r *run) func() {
			pair := r.rng.Perm(len(r.servers))
			return r.change(func(from, to int, w *weather) {
				w.cut = w.cut || from == pair[0] && to == pair[1] || from == pair[1] && to == pair[0]
			})
		}},
		{name: "split", inject: func(r *run) func() {
			side := make([]bool, maxServers)
			for _, id := range r.rng.Perm(len(r.servers))[:len(r.servers)/2] {
				side[id] = true
			}
			return r.change(func(from, to int, w *weather) { w.cut = w.cut || side[from] != side[to] })
		}},
		{name: "all cut off", inject: func(r *run) func() {
			return r.change(func(_, _ int, w *weather) { w.cut = true })
		}},
		{name: "one is slow", inject: func(r *run) func() {
			one, slow := r.any(), r.slow(0)
			return r.change(func(from, to int, w *weather) {
				if from == one || to == one {
					*w = slow
				}
			})
		}},
		{name: "all are slow", inject: func(r *run) func() {
			slow := r.slow(0)
			return r.change(func(_, _ int, w *weather) { *w = slow })
		}},
		{name: "packets are lost", inject: func(r *run) func() {
			slow := r.slow(0.3)
			return r.change(func(_, _ int, w *weather) { *w = slow })
		}},
	}
}

// change changes the weather until it is healed. Several changes end together: the first to be healed clears the sky.
func (r *run) change(f func(from, to int, w *weather)) func() {
	r.net.sky().set(f)
	return r.net.sky().clear
}

func (r *run) any() int { return r.rng.IntN(len(r.servers)) }

// slow draws the weather of a bad line.
func (r *run) slow(loss float64) weather {
	return weather{delay: r.between(time.Millisecond, 150*time.Millisecond), jitter: r.between(1, 50*time.Millisecond), loss: loss * r.rng.Float64()}
}
