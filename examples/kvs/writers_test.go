//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// answerBy is how long a server may take to answer: its deadline (10 s), and time for a slow machine or a server that was stopped.
const answerBy = 20 * time.Second

// load is clients that write all the time. Each has its own key and puts 1, 2, 3, … there, one at a time, never the same
// number twice. A Put answers the value that it replaces, so a client sees each of its writes come true, or not.
type load struct {
	t       *testing.T
	addrs   []string
	writers []*writer
	quit    chan struct{}
	wg      sync.WaitGroup

	mu    sync.Mutex // guards what follows, and the writers' puts
	since time.Time  // await counts what was begun after it
	acked int        // of these
	first time.Time  // when the first of them was acknowledged
	fates [4]int     // how many Puts ended how
}

// fate is what a client knows of a Put.
type fate int

const (
	unknown fate = iota // it may have been applied, once: 107, or not answered yet
	lost                // the same: the connection ended without an answer
	applied             // acknowledged
	refused             // certainly never applied: 106, 108, 110
)

func (f fate) String() string { return [...]string{"unknown", "lost", "acknowledged", "refused"}[f] }

// put is the fate of one Put, and whether its value was seen to be replaced by a later one.
type put struct {
	fate fate
	seen bool
}

func (p put) open() bool { return p.fate == unknown || p.fate == lost }

type writer struct {
	load *load
	key  string
	puts []put // by value; 0 stands for null
	last int   // the value acknowledged last
}

// startLoad starts n writers. They end with stop, or with the test.
func startLoad(t *testing.T, addrs []string, n int) *load {
	l := &load{t: t, addrs: addrs, quit: make(chan struct{})}
	for i := range n {
		w := &writer{load: l, key: fmt.Sprintf("key-%d", i), puts: []put{{fate: applied}}}
		l.writers = append(l.writers, w)
		l.wg.Go(func() { w.run(i) })
	}
	t.Cleanup(l.stop)
	return l
}

// stop lets the Puts under way end.
func (l *load) stop() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
		l.wg.Wait()
		l.t.Logf("puts: %d acknowledged, %d refused, %d unknown (107), %d lost with their connection",
			l.fates[applied], l.fates[refused], l.fates[unknown], l.fates[lost])
	}
}

// await waits until n Puts that begin after its call are acknowledged, and returns when the first was.
func (l *load) await(n int) (first time.Time) {
	l.t.Helper()
	l.mu.Lock()
	l.since, l.acked = time.Now(), 0
	l.mu.Unlock()
	waitFor(l.t, "acknowledged writes", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		first = l.first
		return l.acked >= n
	})
	return first
}

// run puts until the load is stopped, through the next server whenever one fails it.
func (w *writer) run(turn int) {
	for ; ; turn++ {
		client, err := jsonrpc.Dial(context.Background(), w.load.addrs[turn%len(w.load.addrs)])
		for err == nil {
			select {
			case <-w.load.quit:
				_ = client.Close()
				return
			default:
				err = w.put(client)
			}
		}
		if client != nil {
			_ = client.Close()
		}
		select {
		case <-w.load.quit:
			return
		case <-time.After(5 * time.Millisecond): // not to spin while all are down
		}
	}
}

func (w *writer) put(client *jsonrpc.Client) error {
	w.load.mu.Lock()
	n := len(w.puts)
	w.puts = append(w.puts, put{})
	w.load.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), answerBy)
	defer cancel()
	began := time.Now()
	previous := 0 // null leaves it so
	err := client.Call(ctx, "Apply", map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{w.key, n}}}, &previous)
	w.end(n, began, previous, err)
	return err
}

// end notes what became of the Put of n.
func (w *writer) end(n int, began time.Time, previous int, err error) {
	l := w.load
	l.mu.Lock()
	defer l.mu.Unlock()
	f := unknown
	switch _, answered := errors.AsType[*jsonrpc.Error](err); {
	case err == nil:
		f = applied
	case errors.Is(err, raftpico.ErrRejected), errors.Is(err, raftpico.ErrNoLeader), errors.Is(err, raftpico.ErrBusy):
		f = refused
	case errors.Is(err, raftpico.ErrUnknown):
	case answered || errors.Is(err, context.DeadlineExceeded):
		l.t.Errorf("put %d to %s: %v", n, w.key, err)
	default:
		f = lost
	}
	w.puts[n].fate = f
	l.fates[f]++
	if f != applied {
		return
	}
	if flaw := w.replaced(n, previous); flaw != "" {
		l.t.Errorf("put %d to %s, where %d was acknowledged last, replaced %d: %s", n, w.key, w.last, previous, flaw)
	}
	w.last = n
	if began.After(l.since) {
		if l.acked++; l.acked == 1 {
			l.first = time.Now()
		}
	}
}

// replaced judges the value that n replaced: the one acknowledged last, or one of unknown fate that came after it. It may
// have been on its way for long, but it comes once.
func (w *writer) replaced(n, previous int) (flaw string) {
	if previous < 0 || previous >= n {
		return "nobody has put that"
	}
	p := &w.puts[previous]
	switch {
	case p.seen:
		flaw = "that was replaced before: it was applied twice, or what came after it was lost"
	case p.fate == refused:
		flaw = "that was refused, and yet applied"
	case previous != w.last && !p.open():
		flaw = "that is older: a write was lost"
	}
	p.seen = true
	return flaw
}

// read is what the client of a query knew of a key when it asked.
type read struct {
	floor int          // acknowledged last by then
	open  map[int]bool // smaller values that may still come
}

func (w *writer) ask() read {
	w.load.mu.Lock()
	defer w.load.mu.Unlock()
	r := read{w.last, map[int]bool{}}
	for n, p := range w.puts[:w.last] {
		if p.open() && !p.seen {
			r.open[n] = true
		}
	}
	return r
}

// stale tells whether a linearizable query must not have answered v.
func (r read) stale(v int) bool { return v < r.floor && !r.open[v] }
