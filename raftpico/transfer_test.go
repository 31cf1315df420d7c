package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// Snapshots of large states: how they travel, what may go wrong on the way, and what a machine.Snapshotter may rely on.

func TestJoinerGetsALargeStateInChunksWhileWritesGoOn(t *testing.T) {
	t.Parallel()
	var w wires
	a := startArchive(t, w.options)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 40, 256<<10) // 10 MB
	b := startArchive(t, nil)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	var written atomic.Int64
	go func() { // ends when it is told to
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if _, err := a.Apply(context.Background(), machine.Command, written.Add(1)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	g := newGate(t)
	w.stopAt("Chunk", 6, g)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	g.await(t)
	before := written.Load()
	await(t, func() bool { return written.Load() > before+20 }) // they do not wait for the transfer
	g.open()
	await(t, func() bool { return voters(t, b.Server) == 2 })
	close(stop)
	require.NoError(t, <-stopped)
	out, err := b.Apply(t.Context(), machine.Query, "sum")
	require.NoError(t, err)
	require.Equal(t, a.sum(t), string(out))
	require.GreaterOrEqual(t, w.count("Chunk"), 11)
	require.Equal(t, 1, w.count("Install"))

	_, err = a.TakeSnapshot(t.Context())
	require.NoError(t, err)
	sum := a.sum(t)
	b.restart(t)
	a.restart(t)
	require.Equal(t, sum, a.sum(t))
	await(t, func() bool { return b.sum(t) == sum })
}

// Wherever a transfer breaks off, it is begun anew and comes to its end.
func TestBrokenTransferIsBegunAnew(t *testing.T) {
	type place struct {
		method string
		nth    int
	}
	places := []place{{"Snapshot", 1}, {"Chunk", 1}, {"Chunk", 3}, {"Install", 1}, {"load", 1}}
	if testing.Short() {
		places = places[2:4]
	}
	for name, breakOff := range map[string]func(t *testing.T, a, b *archivist, w *wires, g *gate){
		"the receiver is closed": func(t *testing.T, a, b *archivist, w *wires, g *gate) {
			closed := make(chan error, 1)
			go func() { closed <- b.Close() }() // ends with Close
			await(t, func() bool { _, err := b.State(t.Context(), false); return err != nil })
			g.open()
			require.NoError(t, <-closed)
			b.restart(t)
		},
		"the sender is closed": func(t *testing.T, a, b *archivist, w *wires, g *gate) {
			a.restart(t)
			g.open()
		},
		"the network is cut": func(t *testing.T, a, b *archivist, w *wires, g *gate) {
			loads := b.m.loaded()
			w.setCut(true)
			g.open()
			b.m.mu.Lock()
			loading := b.m.loading > 0
			b.m.mu.Unlock()
			await(t, func() bool { return !loading || b.m.loaded() > loads })
			w.setCut(false)
		},
	} {
		for _, at := range places {
			t.Run(fmt.Sprintf("%s/%s %d", name, at.method, at.nth), func(t *testing.T) {
				t.Parallel() // they wait for elections, mostly
				var w wires
				a := startArchive(t, w.options)
				_, err := a.CreateCluster(t.Context(), calm)
				require.NoError(t, err)
				a.fill(t, 14, 256<<10) // four chunks
				b := startArchive(t, nil)
				g := newGate(t)
				if at.method == "load" {
					b.m.nextLoad.Store(g)
				} else {
					w.stopAt(at.method, at.nth, g)
				}
				_, err = a.AddServer(t.Context(), b.Addr())
				require.NoError(t, err)
				g.await(t)
				breakOff(t, a, b, &w, g)
				await(t, func() bool { return voters(t, b.Server) == 2 })
				applies(t, a.Server, "more")
				out := ask(t, b.Server, machine.Query, `"sum"`)
				require.Equal(t, a.sum(t), out)
				b.restart(t)
				a.restart(t)
				await(t, func() bool { return b.sum(t) == out && a.sum(t) == out })
			})
		}
	}
}

func TestInMemoryClusterMakesAndSendsSnapshots(t *testing.T) {
	t.Parallel()
	volatile := func(o *raftpico.Options) {
		o.File, o.InMemory = "", true
		o.Limits.CompactAfter = 32 << 10
	}
	servers := []*archivist{startArchive(t, volatile)}
	_, err := servers[0].CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	servers[0].fill(t, 30, 10<<10)
	add := func(by *archivist) {
		n := len(servers)
		servers = append(servers, startArchive(t, volatile))
		await(t, func() bool {
			_, err := by.AddServer(t.Context(), servers[n].Addr())
			return err == nil || errors.Is(err, raftpico.ErrServerExists)
		})
		await(t, func() bool {
			out, err := servers[n].Apply(t.Context(), machine.Query, "sum")
			return err == nil && string(out) == by.sum(t)
		})
	}
	add(servers[0])
	add(servers[1])
	await(t, func() bool { return voters(t, servers[0].Server) == 3 })
	require.NoError(t, servers[0].Close())
	servers[1].fillAnyhow(t, 30)
	add(servers[2])
	for _, s := range servers[1:] {
		await(t, func() bool {
			state, err := s.State(t.Context(), true)
			return err == nil && state.Machines != nil && state.Snapshot.Index > 30 && s.sum(t) == servers[1].sum(t)
		})
	}
	for _, s := range servers {
		require.NoError(t, s.Close())
		s.m.check(t)
	}
}

// A member that leads sends on, whatever came before: the state arrives though others try at the same time.
func TestTransferAmongOthersIsBegunAnew(t *testing.T) {
	t.Parallel()
	var w wires
	a := startArchive(t, w.options)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 8, 256<<10)
	b := startArchive(t, nil)
	g := newGate(t)
	w.stopAt("Chunk", 2, g)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	g.await(t)
	p := playing(t, a, b)
	c := p.connect()
	require.Equal(t, done, p.announce(c, p.offer(500), 100)) // and nothing more
	g.open()
	await(t, func() bool { return voters(t, b.Server) == 2 })
	require.Equal(t, a.sum(t), b.sum(t))
	require.Contains(t, p.say(c, peer.MethodInstall, crcOf("")), refused)
}

// machine.Snapshotter: "One Load runs at a time."
func TestOneStateIsLoadedAtATime(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		a, b := pair(t, inMemory)
		p := playing(t, a, b)
		require.NoError(t, a.Close())
		first, second := p.connect(), p.connect()
		g := newGate(t)
		b.m.nextLoad.Store(g)
		require.Equal(t, done, p.announce(first, p.offer(50), 5))
		require.Equal(t, done, p.chunk(first, `["a"]`))
		first.send(p.line(peer.MethodInstall, crcOf(`["a"]`)))
		g.await(t)
		loads := b.m.loaded()
		if p.announce(second, p.offer(60), 5) == done && p.chunk(second, `["b"]`) == done {
			second.send(p.line(peer.MethodInstall, crcOf(`["b"]`)))
			await(t, func() bool { return b.m.loaded() > loads || goroutines("loop.(*Reception).load(") > 1 })
		}
		g.open()
		first.line()
		await(t, func() bool { return goroutines("loop.(*Reception).load(") == 0 })
		require.NoError(t, b.Close())
		b.m.check(t)
	}
}

// The same with nobody hostile: the link is lost while the joiner loads, and the leader begins anew.
func TestOneStateIsLoadedAtATimeThoughTheLinkIsLost(t *testing.T) {
	var w wires
	a := startArchive(t, w.options)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	b := startArchive(t, nil)
	g := newGate(t)
	b.m.nextLoad.Store(g)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	g.await(t)
	w.setCut(true)
	w.setCut(false)
	await(t, func() bool { // the leader has tried again, as far as it is let
		return w.count("Install") > 1 && (b.m.loaded() > 0 || goroutines("loop.(*Reception).load(") > 1) || w.count("Snapshot") > 3
	})
	g.open()
	await(t, func() bool { return voters(t, b.Server) == 2 })
	require.NoError(t, b.Close())
	b.m.check(t)
}

// lateConn lets no answer to a chunk through before the time for the write before has run out.
type lateConn struct {
	net.Conn
	mu      sync.Mutex
	chunk   bool
	expires time.Time
	closed  chan struct{}
	once    sync.Once
}

func (c *lateConn) Write(b []byte) (int, error) {
	if method := methodOf(b); method != "" {
		c.mu.Lock()
		c.chunk = method == "Chunk"
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (c *lateConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.expires = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

func (c *lateConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	late, expires := c.chunk, c.expires
	c.mu.Unlock()
	if late {
		select {
		case <-time.After(time.Until(expires) + time.Millisecond):
		case <-c.closed:
		}
	}
	return c.Conn.Read(b)
}

func (c *lateConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A disk that takes its time with the last chunk, though less than the 20 s that a chunk may take, breaks nothing off.
func TestLateAnswerToTheLastChunkBreaksNothingOff(t *testing.T) {
	t.Parallel()
	a := startArchive(t, func(o *raftpico.Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &lateConn{Conn: conn, closed: make(chan struct{})}, nil
		}
	})
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	b := startArchive(t, nil)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	await(t, func() bool { return voters(t, b.Server) == 2 })
}
