package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Load is what clients do.
type Load struct {
	Kind        Kind
	Window      int     // operations under way, over all connections; with Arrivals, the most
	Arrivals    float64 `json:",omitempty"` // operations a second that begin, by chance and whatever is under way; 0: Window are always
	Puts        float64 `json:",omitempty"` // the share of operations that are Puts instead: 0 to 1
	ValueSize   int     // bytes
	Connections int     // at least one, dealt out to the servers in turn; at most Window of them are busy at a time
	Keys        int
	Leader      bool          // all connections go to the leader
	Follower    bool          // all connections go to one server that does not lead
	Warm        time.Duration // not counted
	Time        time.Duration
}

// what is the kind, with the share of others.
func (l Load) what() string {
	if l.Puts == 0 {
		return string(l.Kind)
	}
	return fmt.Sprintf("%s, %.0f%% %s", l.Kind, 100*l.Puts, Put)
}

// Measured is what a load gave.
type Measured struct {
	Began      time.Time
	Operations int
	Failed     int
	Error      string // one of the failures
	Took       time.Duration
	P50        time.Duration
	P99        time.Duration
	P999       time.Duration
}

// Rate is operations a second.
func (m Measured) Rate() float64 { return float64(m.Operations) / m.Took.Seconds() }

// run keeps Window operations under way on the clients, each on one of them for good.
func (l Load) run(ctx context.Context, clients []Client, begin func(), end func()) (Measured, error) {
	var m Measured
	value := bytes.Repeat([]byte("v"), l.ValueSize)
	var counting, stopping atomic.Bool
	var left sync.WaitGroup
	lanes := make([]*lane, l.Window)
	took := make([]histogram, min(len(clients), maxHistograms))
	for i := range lanes {
		lanes[i] = &lane{load: &l, client: clients[i%len(clients)], took: &took[i%len(clients)%len(took)], value: value, rng: rand.New(rand.NewPCG(uint64(i), 7)),
			counting: &counting, stopping: &stopping, left: &left}
		lanes[i].ended = lanes[i].done
	}
	if l.Arrivals > 0 {
		left.Add(1)
		go func() {
			defer left.Done()
			l.arrive(lanes, &stopping)
		}()
	} else if err := beginAll(clients, lanes); err != nil {
		stopping.Store(true)
		return m, err
	}
	wait(ctx, l.Warm)
	begin()
	m.Began = time.Now()
	counting.Store(true)
	wait(ctx, l.Time)
	counting.Store(false)
	m.Took = time.Since(m.Began)
	end()
	stopping.Store(true)
	done := make(chan struct{})
	go func() { left.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		return m, fmt.Errorf("%s: operations were not answered within 30 s", l.Kind)
	}
	var all histogram
	for i := range took {
		all.merge(&took[i])
	}
	for _, lane := range lanes {
		m.Failed += lane.failed
		if lane.err != nil {
			m.Error = lane.err.Error()
		}
	}
	m.Operations = int(all.n)
	m.P50, m.P99, m.P999 = all.quantile(0.5), all.quantile(0.99), all.quantile(0.999)
	return m, ctx.Err()
}

// beginAll begins an operation on each lane.
func beginAll(clients []Client, lanes []*lane) error {
	for _, lane := range lanes {
		lane.left.Add(1)
		if c, ok := lane.client.(Blocker); ok {
			go lane.loop(c)
		} else {
			lane.next(time.Now())
		}
	}
	for _, c := range clients {
		if err := c.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// arrive begins operations at random times until it is to stop (a Poisson process), and each where a lane is free. An
// operation's time counts from when it was due: what waits for a lane is late.
func (l *Load) arrive(lanes []*lane, stopping *atomic.Bool) {
	free := make(chan *lane, len(lanes))
	for _, lane := range lanes {
		lane.free = free
		free <- lane
	}
	rng := rand.New(rand.NewPCG(1, 7))
	for due := time.Now(); !stopping.Load(); {
		due = due.Add(time.Duration(rng.ExpFloat64() / l.Arrivals * float64(time.Second)))
		sleepUntil(due)
		lane := <-free
		lane.left.Add(1)
		lane.next(due)
		_ = lane.client.Flush() // if the connection is broken, the operation ends with an error
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

const pauseAfterFailure = 10 * time.Millisecond

// lane has one operation under way.
type lane struct {
	load     *Load
	client   Client
	value    []byte
	rng      *rand.Rand
	began    time.Time
	took     *histogram // of some clients
	failed   int
	err      error
	counting *atomic.Bool
	stopping *atomic.Bool
	left     *sync.WaitGroup
	free     chan<- *lane // nil: the next operation begins when one has ended
	ended    func(error)  // done, made once
}

// next begins an operation that is due.
func (l *lane) next(due time.Time) {
	l.began = due
	l.client.Go(l.op(), l.ended)
}

// op is the next operation.
func (l *lane) op() Op {
	op := Op{Kind: l.load.Kind, Key: keyOf(l.rng.IntN(l.load.Keys))}
	if l.load.Puts > 0 && l.rng.Float64() < l.load.Puts {
		op.Kind = Put
	}
	if op.Kind == Put {
		op.Value = l.value
	}
	return op
}

// count notes an operation that has ended.
func (l *lane) count(now time.Time, err error) {
	if !l.counting.Load() {
		return
	}
	if err == nil {
		l.took.add(now.Sub(l.began))
	} else {
		l.failed++
		l.err = err
	}
}

// loop is a caller: a goroutine that waits for each operation, until it is to stop.
func (l *lane) loop(client Blocker) {
	defer l.left.Done()
	for now := time.Now(); !l.stopping.Load(); {
		l.began = now
		err := client.Do(l.op())
		now = time.Now()
		l.count(now, err)
		if err != nil {
			time.Sleep(pauseAfterFailure)
			now = time.Now()
		}
	}
}

func (l *lane) done(err error) {
	now := time.Now()
	l.count(now, err)
	if l.free != nil {
		l.left.Done()
		l.free <- l
		return
	}
	if l.stopping.Load() {
		l.left.Done()
		return
	}
	if err != nil {
		time.AfterFunc(pauseAfterFailure, func() {
			l.next(time.Now())
			_ = l.client.Flush()
		})
		return
	}
	l.next(now)
}

// keyOf is the name of a key, all of one length.
func keyOf(i int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var b [8]byte
	for at := len(b) - 1; at >= 0; at-- {
		b[at] = letters[i%26]
		i /= 26
	}
	return string(b[:])
}
