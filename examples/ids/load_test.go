package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/examples/ids/idclient"
	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/machine"
)

// patience bounds every wait of these tests. It is generous: the machine may have other things to do.
const patience = 60 * time.Second

// history is what callers got of one name, or of the ULIDs.
type history[T any] struct {
	compare func(a, b T) int

	mu     sync.Mutex
	newest T // of what has been acknowledged
	blocks []block[T]
}

type block[T any] struct{ first, last T }

// acknowledged is the newest id that somebody has.
func (h *history[T]) acknowledged() T {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest
}

// add notes a block that a caller got, who had begun to ask for it when before was acknowledged. It is false if the block
// is not later.
func (h *history[T]) add(before, first, last T) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blocks = append(h.blocks, block[T]{first, last})
	if h.compare(last, h.newest) > 0 {
		h.newest = last
	}
	return h.compare(first, before) > 0
}

// check fails if two blocks overlap.
func (h *history[T]) check(t *testing.T, what string) {
	t.Helper()
	slices.SortFunc(h.blocks, func(a, b block[T]) int { return h.compare(a.first, b.first) })
	for i, b := range h.blocks {
		require.LessOrEqual(t, h.compare(b.first, b.last), 0, what)
		require.True(t, i == 0 || h.compare(h.blocks[i-1].last, b.first) < 0, "%s: %v and %v overlap", what, h.blocks[max(i, 1)-1], b)
	}
	require.NotEmpty(t, h.blocks, what)
}

// load is callers of all sorts, who check what they get.
type load struct {
	t         *testing.T
	ctx       context.Context
	stop      context.CancelFunc
	wg        sync.WaitGroup
	got       atomic.Int64 // acknowledged calls
	sequence  history[uint64]
	shared    history[idclient.ID]
	ulids     history[ulid.ULID]
	ends      []func() error // of the clients
	solo      [2]idclient.ID // the last ids of who are alone on their names
	soloSizes [2]int
}

// startLoad starts callers, each with the options and addresses of a cluster's client. They go on until check.
func startLoad(t *testing.T, o client.Options, addrs ...string) *load {
	l := &load{t: t, soloSizes: [2]int{0, 16}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	t.Cleanup(l.end)
	l.sequence.compare, l.shared.compare, l.ulids.compare = cmp.Compare, cmp.Compare, ulid.ULID.Compare
	cluster := func() *client.Client {
		c := client.NewWith(o, addrs...)
		l.ends = append(l.ends, c.Close)
		return c
	}
	for range 3 {
		c := cluster()
		l.wg.Go(func() { l.callSequence(c) })
		l.wg.Go(func() { l.callULIDs(c) })
	}
	for i, size := range l.soloSizes {
		c, err := idclient.NewWith(cluster(), string(rune('a'+i)), size)
		require.NoError(t, err)
		l.ends = append(l.ends, c.Close)
		l.wg.Go(func() { follow(l, c, func(id idclient.ID) bool { ok := id == l.solo[i]+1; l.solo[i] = id; return ok }) })
	}
	for _, size := range []int{0, 1, 100} {
		c, err := idclient.NewWith(cluster(), "shared", size)
		require.NoError(t, err)
		l.ends = append(l.ends, c.Close)
		var last idclient.ID
		l.wg.Go(func() {
			follow(l, c, func(id idclient.ID) bool { ok := l.shared.add(last, id, id); last = id; return ok })
		})
	}
	for _, size := range []int{0, 100} {
		c, err := idclient.NewULIDsWith(cluster(), size)
		require.NoError(t, err)
		l.ends = append(l.ends, c.Close)
		var last ulid.ULID
		l.wg.Go(func() {
			follow(l, c, func(id ulid.ULID) bool { ok := l.ulids.add(last, id, id); last = id; return ok })
		})
	}
	return l
}

func (l *load) callSequence(c *client.Client) {
	for n := 1; ; n = n%7 + 1 {
		before := l.sequence.acknowledged()
		r, err := client.Call[ids.Range](l.ctx, c, machine.Command, map[string]any{ids.TagNextID: []any{"raw", n}})
		if l.over(err) {
			return
		}
		if !l.sequence.add(before, r.From, r.To-1) {
			l.t.Errorf("%v was given out, and %d was acknowledged before it was asked for", r, before)
		}
	}
}

func (l *load) callULIDs(c *client.Client) {
	for n := 1; ; n = n%7 + 1 {
		before := l.ulids.acknowledged()
		b, err := client.Call[ids.Block](l.ctx, c, machine.Command, map[string]any{ids.TagULIDs: n})
		if l.over(err) {
			return
		}
		if !l.ulids.add(before, b.First, b.Last) {
			l.t.Errorf("%v was given out, and %v was acknowledged before it was asked for", b, before)
		}
	}
}

// follow takes ids one by one. Follows tells whether one may come behind the one before.
func follow[T any](l *load, c *idclient.Client[T], follows func(T) bool) {
	for {
		id, err := c.Next(l.ctx)
		if l.over(err) {
			return
		}
		if !follows(id) {
			l.t.Errorf("%v does not follow the id before", id)
		}
	}
}

// over tells whether a caller ends, and counts its call if not.
func (l *load) over(err error) bool {
	if err != nil && l.ctx.Err() == nil {
		l.t.Errorf("a call failed: %v", err)
	}
	if err == nil {
		l.got.Add(1)
	}
	return err != nil
}

// await waits for some more acknowledged calls.
func (l *load) await(n int64) {
	l.t.Helper()
	goal := l.got.Load() + n
	require.Eventually(l.t, func() bool { return l.got.Load() >= goal }, patience, time.Millisecond)
}

func (l *load) end() {
	l.stop()
	l.wg.Wait()
	for _, end := range slices.Backward(l.ends) {
		_ = end() // nil
	}
	l.ends = nil
}

// check ends the load. Nobody got what another one got, and the clients that were alone got all.
func (l *load) check() {
	l.t.Helper()
	l.end()
	l.sequence.check(l.t, "sequence")
	l.shared.check(l.t, "sequence of several clients")
	l.ulids.check(l.t, "ULIDs")
	for i, last := range l.solo {
		require.NotZero(l.t, last, "buffer %d", l.soloSizes[i])
	}
	l.t.Logf("%d calls; ULIDs from %v to %v", l.got.Load(), l.ulids.blocks[0].first, l.ulids.newest)
}
