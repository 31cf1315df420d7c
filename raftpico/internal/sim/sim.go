// Package sim runs whole clusters in one goroutine: the real core, the real codec and the real log files, on a virtual
// clock, network and disk. Everything follows from one seed, so a failure replays as often as one likes.
//
// A run has two phases. In the first, clients and an operator ask, and faults happen: servers are killed, lose power
// in the middle of a write, stand still, lose their disk; links break and stall; clocks jump. In the second, faults
// stop, and the cluster must come to rest: everything is answered, a new command succeeds on every member, and all
// members are alike. After every turn of every server the checks of check.go are made.
//
//	sim.go       the world: clock, events, phases
//	server.go    a server: core, log, turns, starts and ends
//	network.go   links between servers
//	client.go    clients, the operator, and what they are told
//	machine.go   the machine that the servers run
//	disk.go      what a server's log must hold
//	check.go     what must be true
//	history.go   Porcupine's verdict
//	faults.go    what goes wrong
//
// Not simulated: snapshots other than those of joiners, compaction, bit flips, two clusters. Not held: that a removed
// server which did not vote learns of it, since only who speaks is answered that it is no member.
//
// Owner: the goroutine that calls Run. The Raft library draws its election timeouts from crypto/rand; a test pins them
// by testing/cryptotest.SetGlobalRandom. No iteration over a map may reach an outcome.
package sim

import (
	"container/heap"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Config says what to run. All that it does not say follows from the seed.
type Config struct {
	Seed   uint64
	Faults time.Duration // simulated, how long faults go on; 0: 30 s
	Trace  io.Writer     // gets a readable trace, if not nil
}

// Result tells what was run.
type Result struct {
	Hash      uint64 // of all that happened
	Simulated time.Duration
	Servers   int
	Turns     int
	Messages  int
	Answers   map[int]int    // by error code; 0 are results
	Faults    map[string]int // by kind
	Terms     int            // that had a leader
	Excused   bool           // too many voters were wiped for the cluster to go on
}

// world is one run.
type world struct {
	cfg    Config
	rng    *rand.Rand
	result Result
	now    time.Duration
	events events
	seq    uint64

	servers []*server
	net     network
	clients clients
	checks  checks
	faults  faults
}

// Run runs one seed. An error is a promise that was broken.
func Run(cfg Config) (result Result, err error) {
	if cfg.Faults == 0 {
		cfg.Faults = 30 * time.Second
	}
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0))}
	w.result.Answers, w.result.Faults = map[int]int{}, map[string]int{}
	defer func() {
		w.result.Simulated = w.now
		result = w.result
		switch p := recover().(type) {
		case nil:
		case violation:
			err = fmt.Errorf("seed %d, at %v: %s", cfg.Seed, w.now, string(p))
		default: // the core or the Raft library
			err = fmt.Errorf("seed %d, at %v: panic: %v\n%s", cfg.Seed, w.now, p, debug.Stack())
		}
	}()
	w.checks.begin()
	w.net.begin(w)
	w.clients.begin(w)
	for slot := range []int{1, 2, 3, 3, 3, 4, 5, 5, 7}[w.rng.IntN(9)] {
		w.servers = append(w.servers, newServer(w, slot))
	}
	w.result.Servers = len(w.servers)
	w.faults.begin(w)
	w.runUntil(cfg.Faults)
	w.rest()
	return w.result, nil
}

// rest is the second phase: without faults, everything must come to a good end.
func (w *world) rest() {
	w.tracef("--- faults stop")
	w.faults.stop(w)
	w.runUntil(w.now + w.clients.deadline + 8*time.Second)
	for _, s := range w.servers {
		if len(s.pending) > 0 {
			w.fail("%s has not answered %s", s, s.pending[0])
		}
	}
	if w.checks.quorumLost(w) {
		w.result.Excused = true
	} else {
		w.checks.settled(w)
		for _, r := range w.clients.askAll() {
			if r.err != nil || !r.answered {
				w.fail("without faults, %s was answered %v", r, r.err)
			}
		}
		w.checks.alike(w)
	}
	w.checks.judgeHistory(w)
}

// violation is a promise that was broken.
type violation string

func (w *world) fail(format string, args ...any) {
	w.tracef("VIOLATION: "+format, args...)
	panic(violation(fmt.Sprintf(format, args...)))
}

func (w *world) tracef(format string, args ...any) {
	if w.cfg.Trace != nil {
		fmt.Fprintf(w.cfg.Trace, "%11.6f  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// fold adds something that happened to the hash of the run.
func (w *world) fold(what []byte) {
	w.result.Hash = crc64.Update(w.result.Hash^uint64(w.now), crcTable, what)
}

// event is something that will happen. Those of one moment happen in the order in which they were planned.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// events is a heap.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

// at plans an event, now at the earliest.
func (w *world) at(at time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{max(at, w.now), w.seq, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

func (w *world) runUntil(end time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// about draws a duration whose mean is d; short ones are more likely.
func (w *world) about(d time.Duration) time.Duration {
	return time.Duration(min(w.rng.ExpFloat64(), 8) * float64(d))
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }
