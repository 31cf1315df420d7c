//go:build unix

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/raftpico/go/machine"
)

// shared is a register that several programs use at once, and some watch. Its last value ends it: who has seen that has
// missed nothing. Guarded by sure.mu until it is judged.
type shared struct {
	register
	next     *shared // what took its place; nil: nothing yet
	last     int64   // its last value
	tolled   int64   // when that was put, 0: not yet
	watching int     // how many have not seen it
	gone     bool    // deleted
}

func (s *sure) freshShared() *shared {
	last := s.load.history.anotherValue()
	reg := &shared{register: register{key: fmt.Sprintf("shared%d", last)}, last: last, watching: watchers}
	s.open[reg] = true
	return reg
}

// swap puts and gets. All is answered, so Porcupine has to guess nothing.
func (w *worker) swap(loading context.Context, rng *rand.Rand) {
	for range w.load.tokens.each(loading) {
		w.mu.Lock()
		slot := rng.IntN(sharing)
		reg := w.shared[slot]
		reg.issued++
		reg.open++
		if reg.issued == perShared {
			reg.next = w.freshShared()
			w.shared[slot] = reg.next
		}
		w.mu.Unlock()
		o := operation{kind: put}
		if rng.IntN(3) == 0 {
			o.kind = get
		}
		ok := w.on(reg, o, 0)
		w.mu.Lock()
		reg.open--
		ended := reg.open == 0 && reg.issued >= perShared
		w.mu.Unlock()
		if ended {
			ok = w.toll(reg)
		}
		if !ok {
			return
		}
	}
}

// on carries out an operation and records it.
func (w *worker) on(reg *shared, o operation, value int64) bool {
	h := w.load.history
	o.client, o.server = w.id, -1
	kind, input := machine.Command, map[string]any{"Delete": reg.key}
	switch o.kind {
	case put:
		if o.wrote = value; value == 0 {
			o.wrote = h.anotherValue()
		}
		input = map[string]any{"Put": []any{reg.key, o.wrote}}
	case get:
		kind, input = machine.Query, map[string]any{"Get": reg.key}
	}
	o.call = w.load.now()
	_, ok := w.do(kind, input, &o.saw, 0)
	o.ret = w.load.now()
	if !ok {
		o.outcome, o.saw = unknown, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	reg.ops = append(reg.ops, o)
	return ok
}

// toll puts the last value.
func (w *worker) toll(reg *shared) bool {
	ok := w.on(reg, operation{kind: put}, reg.last)
	w.mu.Lock()
	defer w.mu.Unlock()
	reg.tolled = w.load.now()
	w.submit(reg)
	return ok
}

// tollAll ends the registers in use, when nobody writes to them any more.
func (s *sure) tollAll() {
	w := &worker{sure: s, id: 1, reads: s.clients[0], writes: s.clients[0], work: "swap"}
	for _, reg := range s.shared {
		w.toll(reg)
	}
}

// watch waits for the changes of a slot's registers, one after the other.
func (w *worker) watch(reg *shared) {
	for reg != nil && w.watchOne(reg) {
		w.mu.Lock()
		reg = reg.next
		w.mu.Unlock()
	}
}

// seen is what a watcher is answered.
type seen struct{ Version, Value int64 }

// watchOne watches a register to its end: versions must grow, the values fit among those that others read, and the last
// one come soon.
func (w *worker) watchOne(reg *shared) bool {
	var at seen
	for at.Value != reg.last {
		was := at
		o := operation{client: w.id, server: -1, kind: get, call: w.load.now()}
		if _, ok := w.do(machine.Query, map[string]any{"Watch": []any{reg.key, was.Version}}, &at, 0); !ok {
			return false
		}
		o.saw, o.ret = at.Value, w.load.now()
		if at.Version < was.Version || at.Version == was.Version && at.Value != was.Value {
			return w.wrong("%s: after %+v a watcher saw %+v", reg.key, was, at)
		}
		w.mu.Lock()
		reg.ops = append(reg.ops, o)
		w.mu.Unlock()
	}
	w.mu.Lock()
	reg.watching--
	alone, late := reg.watching == 0, time.Duration(w.load.now()-reg.tolled)
	if reg.tolled == 0 { // the put is still to be answered
		late = 0
	}
	w.mu.Unlock()
	if late > soon {
		return w.wrong("%s: the last value has not woken a watcher for %v", reg.key, late)
	}
	if !alone {
		return true
	}
	ok := w.on(reg, operation{kind: del}, 0) // a key that is done with leaves nothing behind
	w.mu.Lock()
	defer w.mu.Unlock()
	reg.gone = ok
	w.submit(reg)
	return ok
}

// submit has a register judged if all is recorded. The caller holds mu.
func (s *sure) submit(reg *shared) {
	if reg.tolled != 0 && reg.gone {
		delete(s.open, reg)
		s.load.history.submit(&reg.register)
	}
}
