// Package sim runs whole clusters in one goroutine: the real core, the real codec and the real log files, on a virtual
// clock, network and disk. Everything follows from one seed, so a failure replays as often as one likes.
//
// A run has two phases. In the first, clients and an operator ask, and faults happen: servers are killed, lose power
// in the middle of a write, stand still, are slow, lose their disk or a bit of it; links break, stall and say things
// twice; clocks jump; another cluster takes servers in. In the second, faults stop, and the clusters must come to rest:
// everything is answered, a new command succeeds on every member, and all members are alike. After every turn of every
// server the checks of check.go are made.
//
//	sim.go       the world: clock, events, phases
//	server.go    a server: core, log, turns, starts and ends
//	snapshot.go  its new log files
//	beside.go    lines that it saves beside the turn
//	network.go   links between servers
//	handshake.go who meets whom
//	moves.go     servers that are started at other addresses
//	founding.go  servers that create their cluster by themselves
//	transfer.go  snapshots between servers
//	client.go    clients, the operator, and what they are told
//	extras.go    what only some clients do
//	session.go   clients that work in sessions
//	machine.go   the machine that the servers run
//	timed.go     its locks, alarms and watches
//	upgrade.go   its versions
//	levels.go    servers of an older release
//	leases.go    leaders that read under leases
//	clocks.go    the clocks of servers
//	disk.go      what a server's log must hold
//	check.go     what must be true
//	quorum.go    who is left to go on
//	answers.go   what must be true of answers
//	promises.go  what may be said, by what is saved
//	spared.go    who may leave
//	seats.go     who may have which place in a cluster
//	ledger.go    what must become of sessions
//	abandon.go   who waits no longer
//	timing.go    timers, and queries that wait
//	history.go   Porcupine's verdict
//	faults.go    what goes wrong
//	operator.go  who changes the clusters
//	replicas.go  members that learn for good, and dead ones
//
// Not simulated: machines that panic; bits that flip under a server that runs. Not held: that a removed server which did
// not vote learns of it, since only who speaks is answered that it is no member.
//
// Owner: the goroutine that calls Run. The Raft library draws its election timeouts from crypto/rand; a test pins them
// by testing/cryptotest.SetGlobalRandom. No iteration over a map may reach an outcome.
package sim

import (
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Config says what to run. All that it does not say follows from the seed.
type Config struct {
	Seed   uint64
	Faults time.Duration // simulated, how long faults go on; 0: 30 s
	Load   *Load         // nil: it follows from the seed too
	Drift  float64       // not 0: leaders read under leases, and clocks go that much too fast or slow, at most
	Trace  io.Writer     // gets a readable trace, if not nil
}

// Load is a stated load, on one cluster with the timeouts that the product has unless told otherwise.
type Load struct {
	Servers    int
	Clients    int
	Operations float64 // a simulated second, of all clients
	Faults     float64 // a simulated second
}

// Result tells what was run.
type Result struct {
	Hash      uint64 // of all that happened
	Simulated time.Duration
	Servers   int
	Turns     int
	Messages  int
	Asked     int            // requests by clients
	Drawn     int            // faults, without messages that came twice and what became of flipped bits
	Answers   map[int]int    // by error code; 0 are results
	Faults    map[string]int // by kind
	Terms     int            // that had a leader
	Compared  int            // looks at hashes of states that another server had made too
	Paged     int            // turns that applied more than a page of committed entries
	Seen      map[string]int // what timers, sessions and waits have come to, by kind
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

	servers  []*server
	captures bool // the machines are Snapshotters
	net      network
	clients  clients
	home     *checks // of the cluster that the run is about
	away     *checks // of another one, which may meet its servers; nil: there is none
	faults   faults
	upgrades upgrades
	levels   levels
	extras   extras
	replicas replicas
	moves    moves
	founding founding
	leases   leases
	besides  besides
}

// Run runs one seed. An error is a promise that was broken.
func Run(cfg Config) (result Result, err error) {
	if cfg.Faults == 0 {
		cfg.Faults = 30 * time.Second
	}
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0))}
	w.result.Answers, w.result.Faults, w.result.Seen = map[int]int{}, map[string]int{}, map[string]int{}
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
	w.upgrades.begin(w)
	w.levels.begin(w)
	w.net.begin(w)
	w.clients.begin(w)
	w.home, w.captures = newChecks("home"), w.chance(0.5)
	servers, strangers := []int{1, 2, 3, 3, 3, 4, 5, 5, 6, 7}[w.rng.IntN(10)], max(0, w.rng.IntN(6)-3)
	if l := cfg.Load; l != nil {
		servers, strangers = l.Servers, 0
	}
	if strangers > 0 {
		w.away = newChecks("away")
	}
	w.extras.begin(w)
	w.replicas.begin(w)
	w.moves.begin(w)
	w.founding.begin(w, servers)
	w.leases.begin(w)
	w.besides.begin(w)
	for slot := range servers + strangers {
		w.servers = append(w.servers, newServer(w, slot, slot >= servers))
	}
	w.result.Servers = servers
	w.faults.begin(w)
	w.runUntil(cfg.Faults)
	w.rest()
	return w.result, nil
}

// rest is the second phase: without faults, everything must come to a good end.
func (w *world) rest() {
	w.tracef("--- faults stop")
	w.faults.stop(w)
	longest := float64(max(w.clients.deadline, w.extras.maxTimeout)) / (1 - w.cfg.Drift) // by the slowest clock
	w.runUntil(w.now + time.Duration(longest) + 8*time.Second)
	for _, s := range w.servers {
		if len(s.pending) > 0 {
			w.fail("%s has not answered %s", s, s.pending[0])
		}
	}
	for _, c := range w.clusters() {
		switch {
		case len(c.view) == 0 && (c == w.away || w.founding.excused()): // its founder has joined the other one
		case c.quorumLost(w):
			w.result.Excused = true
		default:
			c.settled(w)
			for _, r := range w.clients.askAll(c) {
				if r.err != nil || !r.answered {
					w.fail("without faults, %s was answered %v", r, r.err)
				}
			}
			c.comeLevel(w)
			c.alike(w)
			c.forsaken(w)
			c.idle(w)
			c.carriedOn(w)
		}
		c.judgeHistory(w)
	}
}

// clusters are those of this run.
func (w *world) clusters() []*checks {
	if w.away == nil {
		return []*checks{w.home}
	}
	return []*checks{w.home, w.away}
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

// traceWriter puts what a core logs into the trace.
type traceWriter struct{ s *server }

func (t traceWriter) Write(b []byte) (int, error) {
	t.s.w.tracef("%s %s", t.s, b[:len(b)-1])
	return len(b), nil
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// fold adds something that happened to the hash of the run.
func (w *world) fold(what []byte) {
	h := bits.RotateLeft64(w.result.Hash, 23) ^ uint64(w.now)<<32 ^ uint64(crc32.Checksum(what, castagnoli))
	w.result.Hash = h * 0x9e3779b97f4a7c15
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// event is something that will happen. Those of one moment happen in the order in which they were planned.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

// events is a heap. NB: container/heap would allocate for every event, of which there are several a turn.
type events []event

func (h *events) push(e event) {
	*h = append(*h, e)
	all := *h
	i := len(all) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&all[parent]) {
			break
		}
		all[i] = all[parent]
		i = parent
	}
	all[i] = e
}

func (h *events) pop() event {
	all := *h
	first, last := all[0], all[len(all)-1]
	all[len(all)-1] = event{}
	all = all[:len(all)-1]
	*h = all
	i := 0
	for child := 1; child < len(all); child = 2*i + 1 {
		if child+1 < len(all) && all[child+1].before(&all[child]) {
			child++
		}
		if !all[child].before(&last) {
			break
		}
		all[i] = all[child]
		i = child
	}
	if len(all) > 0 {
		all[i] = last
	}
	return first
}

// at plans an event, now at the earliest.
func (w *world) at(at time.Duration, do func()) {
	w.seq++
	w.events.push(event{max(at, w.now), w.seq, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

func (w *world) runUntil(end time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= end {
		e := w.events.pop()
		w.now = e.at
		e.do()
	}
	w.now = max(w.now, end)
}

// about draws a duration whose mean is d; short ones are more likely.
func (w *world) about(d time.Duration) time.Duration {
	return time.Duration(min(w.rng.ExpFloat64(), 8) * float64(d))
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }
