//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	retrying "github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

const (
	callers   = 3 // each with a retrying.Client
	eachDoes  = 2 // workers of a client for each kind of work that writes
	sharing   = 3 // registers that all of them share, at a time
	watchers  = 2 // of each
	perShared = 600

	// NB: Longer than a minority, or all, are ever out of reach; so a call that ends without an answer is a fault.
	longest   = 4 * time.Minute
	soon      = 2 * patience // for a change to reach who waits for it; less than longest, when servers wake whoever waits
	versioned = 1001         // kvs: the version differs
)

// sure is a load of programs that use package client. What is in doubt is sent again, in sessions: so every operation
// has a certain outcome, and happens once. It ends with the context of begin, but lets what is under way come to its
// end.
type sure struct {
	load    *load
	ctx     context.Context // ends when the run is broken off
	giveUp  context.CancelFunc
	clients []*retrying.Client
	ended   sync.Once
	writers sync.WaitGroup // of the shared registers
	others  sync.WaitGroup
	added   own // by all, to one counter

	mu     sync.Mutex
	counts map[string]int
	own    []*own
	shared [sharing]*shared
	open   map[*shared]bool // not yet submitted
}

// own is a key, and how often it has been changed.
type own struct {
	key  string
	done int64
}

// worker is one goroutine's use of a client.
type worker struct {
	*sure
	id     int
	reads  retrying.Applier
	writes retrying.Applier
	work   string // as the report names it
}

// startSure begins the load, beside another.
func startSure(r *run, beside *load, loading context.Context) *sure {
	r.t.Helper()
	s := &sure{load: beside, counts: map[string]int{}, open: map[*shared]bool{}, added: own{key: "added"}}
	s.ctx, s.giveUp = context.WithCancel(r.ctx)
	for i := range s.shared {
		s.shared[i] = s.freshShared()
	}
	first := s.shared
	for i := range callers {
		var addrs []string
		for _, server := range r.servers[:1+i%len(r.servers)] { // one may have to learn of the others
			addrs = append(addrs, server.known)
		}
		c := retrying.New(addrs...)
		s.clients = append(s.clients, c)
		writes := retrying.Applier(c)
		if i == 0 {
			session, err := c.OpenSession(s.ctx, 10*time.Minute)
			require.NoError(r.t, err)
			writes = session
		}
		s.begin(loading, r.seed, c, writes, first, i)
	}
	return s
}

// begin starts the workers of a client.
func (s *sure) begin(loading context.Context, seed uint64, reads, writes retrying.Applier, first [sharing]*shared, i int) {
	n := 0
	as := func(work string) *worker {
		n++
		return &worker{sure: s, id: 1000*(i+1) + n, reads: reads, writes: writes, work: work}
	}
	for range eachDoes {
		count, chain, add, swap := as("count"), as("chain"), as("add"), as("swap")
		s.others.Go(func() { count.count(loading, s.ownKey("count", count.id)) })
		s.others.Go(func() { chain.chain(loading, s.ownKey("chain", chain.id)) })
		s.others.Go(func() { add.add(loading) })
		rng := rand.New(rand.NewPCG(seed, uint64(swap.id)))
		s.writers.Go(func() { swap.swap(loading, rng) })
	}
	for slot := range sharing {
		if (slot+i)%callers < watchers {
			w := as("watch")
			s.others.Go(func() { w.watch(first[slot]) })
		}
	}
	kind := machine.Query
	if i%2 == 1 {
		kind = machine.LocalQuery
	}
	ringer, listener := as("ring"), as("listen")
	b := &bell{key: fmt.Sprintf("bell%d", i), heard: make(chan int64), quiet: make(chan struct{})}
	s.others.Go(func() { ringer.ring(loading, b) })
	s.others.Go(func() { listener.listen(kind, b) })
}

func (s *sure) ownKey(work string, id int) *own {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &own{key: fmt.Sprintf("%s%d", work, id)}
	s.own = append(s.own, o)
	return o
}

// do makes a call. Whatever happens to servers meanwhile, it must be answered, unless the run is broken off; refused is
// the code that the machine may answer. False: go no further.
func (w *worker) do(kind machine.Kind, input map[string]any, output any, refused int) (took, ok bool) {
	ctx, cancel := context.WithTimeout(w.ctx, longest)
	defer cancel()
	via := w.reads
	if kind == machine.Command {
		via = w.writes
	}
	began := time.Now()
	err := via.Apply(ctx, kind, input, output)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[w.work]++
	switch {
	case err == nil:
		return true, true
	case refused != 0 && code(err) == refused:
		w.counts[w.work+" refused"]++
		return false, true
	case w.ctx.Err() != nil:
		return false, false
	case errors.Is(err, retrying.ErrUnknown), errors.Is(err, retrying.ErrSessionEnded):
		w.counts[w.work+" in doubt"]++
	}
	w.wrong("a call through package client, %v %v, after %v: %w", kind, input, time.Since(began), err)
	return false, false
}

// wrong records a fault. It returns false: go no further.
func (w *worker) wrong(format string, args ...any) bool {
	w.load.fault(fmt.Errorf("%s %d: %w", w.work, w.id, fmt.Errorf(format, args...)))
	return false
}

// count puts 1, 2, 3, … to a key of its own. Each must be told the one before: one that were carried out twice, or not
// at all, would show in the next answer at the latest.
func (w *worker) count(loading context.Context, o *own) {
	for range w.load.tokens.each(loading) {
		var was int64
		if _, ok := w.do(machine.Command, map[string]any{"Put": []any{o.key, o.done + 1}}, &was, 0); !ok {
			return
		}
		if was != o.done {
			w.wrong("%d in %s was put, and %d was there", o.done+1, o.key, was)
			return
		}
		o.done++
	}
}

// chain does so by PutIf. Carried out twice, it would find another version, which is an error.
func (w *worker) chain(loading context.Context, o *own) {
	var at struct{ Version uint64 }
	for range w.load.tokens.each(loading) {
		was := at.Version
		if _, ok := w.do(machine.Command, map[string]any{"PutIf": []any{o.key, was, o.done + 1}}, &at, 0); !ok {
			return
		}
		if at.Version <= was {
			w.wrong("version %d of %s follows %d", at.Version, o.key, was)
			return
		}
		o.done++
	}
}

// add adds to a counter that all share: it looks, and puts if nobody was faster.
func (w *worker) add(loading context.Context) {
	for range w.load.tokens.each(loading) {
		var now struct {
			Version uint64
			Value   int64
		}
		if _, ok := w.do(machine.Query, map[string]any{"GetVersion": w.added.key}, &now, 0); !ok {
			return
		}
		put, ok := w.do(machine.Command, map[string]any{"PutIf": []any{w.added.key, now.Version, now.Value + 1}}, nil, versioned)
		if !ok {
			return
		}
		if put {
			w.mu.Lock()
			w.added.done++
			w.mu.Unlock()
		}
	}
}

// finish waits until all that is under way is done. The load must have been told to end, and everything be healed.
func (s *sure) finish() {
	s.ended.Do(func() {
		s.writers.Wait()
		s.tollAll()
		s.others.Wait()
		for reg := range s.open { // the run was broken off
			s.load.history.submit(&reg.register)
		}
	})
}

// breakOff ends it whatever is under way.
func (s *sure) breakOff() {
	s.giveUp()
	s.finish()
	for _, c := range s.clients {
		_ = c.Close()
	}
}

// check holds what the servers know against what was answered, and ends the clients' sessions. Commands go on in them
// until then, though all servers were restarted.
func (s *sure) check(r *run) {
	r.t.Helper()
	for i, o := range append(slices.Clone(s.own), &s.added) {
		c := s.clients[i%len(s.clients)]
		ctx, cancel := context.WithTimeout(s.ctx, longest)
		was, err := retrying.Call[int64](ctx, c, machine.Command, map[string]any{"Put": []any{o.key, 0}})
		require.NoError(r.t, err)
		require.Equal(r.t, o.done, was, "%s: what was acknowledged, and what is there", o.key)
		require.NotZero(r.t, was, "%s was never written", o.key)
		now, err := retrying.Call[int64](ctx, c, machine.Query, map[string]any{"Get": o.key})
		require.NoError(r.t, err)
		require.Zero(r.t, now, o.key)
		cancel()
	}
	for _, c := range s.clients {
		require.NoError(r.t, c.Close())
	}
}

func (s *sure) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, s.counts[name]))
	}
	return strings.Join(parts, ", ")
}
