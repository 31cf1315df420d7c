//go:build unix

package torture

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// kind is what an operation does.
type kind uint8

const (
	put kind = iota
	get
	del
	local // a get by LocalQuery: not judged by Porcupine
)

func (k kind) String() string { return [...]string{"put", "get", "delete", "local get"}[k] }

// outcome is what the client knows of an operation.
type outcome uint8

const (
	answered outcome = iota
	refused          // it certainly had no effect
	unknown          // it may have had one, now or later
)

func (o outcome) String() string { return [...]string{"answered", "refused", "unknown"}[o] }

// operation is one operation on a register. Times are nanoseconds since the history began. Value 0 is no value.
type operation struct {
	client    int
	server    int // that was asked,
	boot      int // in which of its lives
	kind      kind
	outcome   outcome
	wrote     int64 // by a put
	saw       int64 // the value, or the one before, if answered
	blind     bool  // the answer to this write does not tell what was there before
	call, ret int64
}

func (o operation) String() string {
	return fmt.Sprintf("client %d, server %d.%d: %v wrote %d saw %d, %v, from %v to %v", o.client, o.server, o.boot, o.kind, o.wrote, o.saw, o.outcome,
		time.Duration(o.call), time.Duration(o.ret))
}

// register is a key of the store and what was done to it. Guarded by its history's mu until it is judged.
type register struct {
	key    string
	issued int // operations begun
	open   int // of these, not yet ended
	ops    []operation
}

// history is the registers of a run: a few are in use, those that had their operations are judged and forgotten.
type history struct {
	limit  int    // operations of a register
	keep   string // the directory for evidence
	judges sync.WaitGroup
	full   chan *register

	mu     sync.Mutex
	live   []*register
	serial int
	value  int64 // the last one given out
	judged int   // operations
	slow   time.Duration
	faults []error
}

const (
	keys        = 20
	judgePeriod = 2 * time.Minute // for one register; it takes milliseconds
)

func newHistory(limit int, keep string) *history {
	h := &history{limit: limit, keep: keep, full: make(chan *register, 1<<16)}
	for range keys {
		h.live = append(h.live, h.fresh())
	}
	h.judges.Go(func() { // ends when full is closed
		for r := range h.full {
			h.judge(r)
		}
	})
	return h
}

func (h *history) fresh() *register {
	h.serial++
	return &register{key: fmt.Sprintf("k%d", h.serial)}
}

// begin chooses a register for an operation, and a value never written before.
func (h *history) begin(slot int) (r *register, value int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r = h.live[slot]
	r.issued++
	r.open++
	if r.issued == h.limit {
		h.live[slot] = h.fresh()
	}
	h.value++
	return r, h.value
}

func (h *history) anotherValue() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.value++
	return h.value
}

// end records an operation. True means that it was the register's last: the caller may do one more and must submit it.
func (h *history) end(r *register, o operation) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.ops = append(r.ops, o)
	r.open--
	return r.open == 0 && r.issued >= h.limit
}

// submit has a register judged on which nothing is under way, after one more operation.
func (h *history) submit(r *register, last ...operation) {
	r.ops = append(r.ops, last...)
	h.full <- r
}

// rest returns the registers in use when no operation is under way any more. The caller must submit them.
func (h *history) rest() []*register {
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := h.live
	h.live = nil
	return rest
}

// verdict waits until all that was submitted is judged.
func (h *history) verdict() []error {
	close(h.full)
	h.judges.Wait()
	return h.faults
}

func (h *history) judge(r *register) {
	began := time.Now()
	err := r.judge(h.keep)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.judged += len(r.ops)
	h.slow = max(h.slow, time.Since(began))
	if err != nil {
		h.faults = append(h.faults, fmt.Errorf("key %s: %w", r.key, err))
	}
}

// judge says what is wrong with a register's history. Evidence is left in the directory keep.
func (r *register) judge(keep string) error {
	writes, readers := map[int64]operation{}, map[int64]operation{} // by value; readers: the first to return
	for _, o := range r.ops {
		if o.kind == put {
			writes[o.wrote] = o
		}
	}
	for _, o := range r.ops {
		if o.outcome != answered || o.saw == 0 {
			continue
		}
		w, written := writes[o.saw]
		switch {
		case !written:
			return fmt.Errorf("a value that nobody wrote: %v", o)
		case w.outcome == refused:
			return fmt.Errorf("a refused write had an effect: %v; %v", w, o)
		case w.call > o.ret:
			return fmt.Errorf("a value from the future: %v; %v", w, o)
		}
		if first, seen := readers[o.saw]; o.kind != local && (!seen || o.ret < first.ret) {
			readers[o.saw] = o
		}
	}
	if err := r.stale(); err != nil {
		return err
	}
	ops := r.judgeable(readers)
	result, info := porcupine.CheckOperationsVerbose(model, ops, judgePeriod)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("Porcupine has not finished within %v, of %d operations", judgePeriod, len(ops))
	}
	path := filepath.Join(keep, "history-"+r.key+".html")
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		path = err.Error()
	}
	return fmt.Errorf("not linearizable: %d operations, see %s", len(ops), path)
}

// judgeable is the history as Porcupine gets it. An operation of unknown outcome returns never. But who saw the value of
// such a put has returned after it. And what nobody saw can be left out: any order that is right with it is right
// without it, since whatever comes next and is known tells what it found. That keeps the search short.
func (r *register) judgeable(readers map[int64]operation) (ops []porcupine.Operation) {
	var nothing int64 // when it was last answered that there was no value
	for _, o := range r.ops {
		if o.outcome == answered && o.saw == 0 && o.kind != local && !o.blind {
			nothing = max(nothing, o.ret)
		}
	}
	for _, o := range r.ops {
		reader, seen := readers[o.wrote]
		switch {
		case o.kind == local, o.outcome == refused:
			continue
		case o.outcome == answered:
		case o.kind == put && seen:
			o.ret = reader.ret
		case o.kind == del && nothing >= o.call:
			o.ret = math.MaxInt64
		default:
			continue
		}
		ops = append(ops, porcupine.Operation{ClientId: o.client, Input: o, Call: o.call, Output: o, Return: o.ret})
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	return ops
}

// model is a register that answers a write with the value before.
var model = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		was, o, seen := state.(int64), input.(operation), output.(operation)
		right := seen.outcome == unknown || seen.blind || seen.saw == was
		switch o.kind {
		case put:
			return right, o.wrote
		case del:
			return right, int64(0)
		}
		return right, was
	},
	DescribeOperation: func(input, output any) string {
		o := input.(operation)
		if o.outcome == unknown || o.blind {
			return fmt.Sprintf("%v %d → ?", o.kind, o.wrote)
		}
		return fmt.Sprintf("%v %d → %d", o.kind, o.wrote, o.saw)
	},
	DescribeState: func(state any) string { return fmt.Sprint(state) },
}
