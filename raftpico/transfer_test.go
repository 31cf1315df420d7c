package raftpico_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Snapshots of large states: how they travel, what may go wrong on the way, and what a machine.Snapshotter may rely on.

// archive keeps every command's input. It is a machine.Snapshotter that watches how its server keeps the contract.
type archive struct {
	kept []json.RawMessage // owner: the loop

	nextWrite, nextLoad, nextHold atomic.Pointer[gate] // where the next one is to stop

	mu       sync.Mutex
	captures int
	writes   int // begun
	loads    int // returned
	open     int // captures whose write has not returned
	loading  int
	faults   []string
}

// gate stops who passes it until the test opens it.
type gate struct {
	reached, opened chan struct{}
	once            sync.Once
}

// newGate makes one that is open at the latest when the test ends: make it after the servers.
func newGate(t *testing.T) *gate {
	g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// pass is called by whoever takes the gate off its hook, so once.
func (g *gate) pass() {
	if g != nil {
		close(g.reached)
		<-g.opened
	}
}

func (g *gate) await(t *testing.T) {
	t.Helper()
	select {
	case <-g.reached:
	case <-time.After(long):
		require.FailNow(t, "nobody came to the gate")
	}
}

// long is when waiting for megabytes becomes a failure, also on a busy machine and with the race detector.
const long = 2 * time.Minute

// await waits until a condition holds, so long.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, long, 10*time.Millisecond)
}

func (m *archive) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	if ctx.Kind == machine.Command {
		m.kept = append(m.kept, bytes.Clone(input))
		return len(m.kept), nil
	}
	if string(input) == `"hold"` {
		m.nextHold.Swap(nil).pass()
	}
	return m.sum(), nil
}

// sum tells the state in short.
func (m *archive) sum() string {
	crc := uint32(0)
	for _, input := range m.kept {
		crc = crc32.Update(crc, peer.Castagnoli, input)
	}
	return fmt.Sprintf("%d inputs, %08x", len(m.kept), crc)
}

func (m *archive) Snapshot() (json.RawMessage, error) {
	m.fault("Snapshot was called")
	return nil, errors.New("not here")
}

func (m *archive) Restore(json.RawMessage) error {
	m.fault("Restore was called")
	return errors.New("not here")
}

func (m *archive) Capture() (func(io.Writer) error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open > 0 {
		m.faults = append(m.faults, "captured while the capture before is being written")
	}
	m.captures++
	m.open++
	kept, written := m.kept[:len(m.kept):len(m.kept)], false
	return func(w io.Writer) error {
		m.mu.Lock()
		if written {
			m.faults = append(m.faults, "a capture was written twice")
		}
		written = true
		m.writes++
		alone := m.open == 1
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.open--
		}()
		if alone { // else the loop itself may be writing this one
			m.nextWrite.Swap(nil).pass()
		}
		return write(w, kept)
	}, nil
}

// write puts a state out in small pieces, some with white space.
func write(w io.Writer, kept []json.RawMessage) error {
	sep := "[\n"
	for _, input := range kept {
		if _, err := io.WriteString(w, sep); err != nil {
			return err
		}
		if _, err := w.Write(input); err != nil {
			return err
		}
		sep = " ,"
	}
	if len(kept) == 0 {
		sep += "]"
	} else {
		sep = "]"
	}
	_, err := io.WriteString(w, sep)
	return err
}

func (m *archive) Load(r io.Reader) (func(), error) {
	m.mu.Lock()
	if m.loading++; m.loading > 1 {
		m.faults = append(m.faults, "two are loaded at a time")
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.loading--
		m.loads++
	}()
	m.nextLoad.Swap(nil).pass()
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var kept []json.RawMessage
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	return func() { m.kept = kept }, nil
}

func (m *archive) fault(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, what)
}

func (m *archive) loaded() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads
}

func (m *archive) unwritten() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// check holds the contract. Its server has been closed.
func (m *archive) check(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Empty(t, m.faults)
	require.Equal(t, m.captures, m.writes, "every capture is written, once")
	require.Zero(t, m.open+m.loading)
}

// archivist is a server of an archive, and how to start it again.
type archivist struct {
	*raftpico.Server
	m    *archive
	opts raftpico.Options
}

func startArchive(t *testing.T, change func(*raftpico.Options)) *archivist {
	t.Helper()
	opts := raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(t.TempDir(), "log.jsonl"), Logger: quiet, Limits: raftpico.Limits{Deadline: long}}
	if change != nil {
		change(&opts)
	}
	a := &archivist{opts: opts}
	a.start(t)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func (a *archivist) start(t *testing.T) {
	t.Helper()
	a.m = &archive{}
	await(t, func() bool { // the port may still be on its way back
		s, err := raftpico.Start(a.m, a.opts)
		if err == nil {
			a.Server, a.opts.Addr = s, s.Addr()
		}
		return err == nil
	})
}

// restart closes it, holds the contract, and starts it again.
func (a *archivist) restart(t *testing.T) {
	t.Helper()
	require.NoError(t, a.Close())
	a.m.check(t)
	_, err := os.Stat(a.opts.File + ".new")
	require.ErrorIs(t, err, os.ErrNotExist, "a new file was left behind")
	a.start(t)
}

// fill gives it n inputs of size bytes.
func (a *archivist) fill(t *testing.T, n, size int) {
	t.Helper()
	for i := range n {
		_, err := a.Apply(t.Context(), machine.Command, fmt.Sprintf("%06d%s", i, strings.Repeat("x", size)))
		require.NoError(t, err)
	}
}

// sum is the state it has now.
func (a *archivist) sum(t *testing.T) string {
	t.Helper()
	out, err := a.Apply(t.Context(), machine.LocalQuery, "sum")
	require.NoError(t, err)
	return string(out)
}

// pair is a cluster of two, the first one leading; one that is "in memory" is the second.
func pair(t *testing.T, inMemory bool) (a, b *archivist) {
	t.Helper()
	a = startArchive(t, nil)
	b = startArchive(t, func(o *raftpico.Options) {
		if inMemory {
			o.File, o.InMemory = "", true
		}
	})
	joinAll(t, []*raftpico.Server{a.Server, b.Server}, calm)
	return a, b
}

// wires are a server's connections to others. A test can stop one at a line of a transfer, and cut them all.
type wires struct {
	mu    sync.Mutex
	conns map[*wireConn]bool
	cut   bool
	at    string // stop before the line of this method
	nth   int
	gate  *gate
	lines map[string]int // by method
}

func (w *wires) options(o *raftpico.Options) {
	w.conns, w.lines = map[*wireConn]bool{}, map[string]int{}
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cut {
			return nil, errors.Join(errors.New("cut"), conn.Close())
		}
		c := &wireConn{Conn: conn, wires: w, closed: make(chan struct{})}
		w.conns[c] = true
		return c, nil
	}
}

// stopAt has the next transfer stop before the n-th line of a method.
func (w *wires) stopAt(method string, n int, g *gate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.nth, w.gate = method, n, g
}

func (w *wires) setCut(cut bool) {
	w.mu.Lock()
	w.cut = cut
	var conns []*wireConn
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	for _, c := range conns {
		if cut {
			_ = c.Close()
		}
	}
}

func (w *wires) count(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines[method]
}

type wireConn struct {
	net.Conn
	wires  *wires
	once   sync.Once
	closed chan struct{}
}

func (c *wireConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.wires.mu.Lock()
	delete(c.wires.conns, c)
	c.wires.mu.Unlock()
	return c.Conn.Close()
}

// methodOf is the method of a request that begins with b.
func methodOf(b []byte) string {
	name, found := bytes.CutPrefix(b, []byte(`{"jsonrpc":"2.0","method":"raftpico.`))
	if !found {
		return ""
	}
	name, _, _ = bytes.Cut(name, []byte(`"`))
	return string(name)
}

func (c *wireConn) Write(b []byte) (int, error) {
	if method := methodOf(b); method != "" {
		c.wires.mu.Lock()
		c.wires.lines[method]++
		var g *gate
		if method == c.wires.at {
			if c.wires.nth--; c.wires.nth == 0 {
				g, c.wires.gate, c.wires.at = c.wires.gate, nil, ""
			}
		}
		c.wires.mu.Unlock()
		if g != nil {
			close(g.reached)
			select {
			case <-g.opened:
			case <-c.closed:
			}
		}
	}
	return c.Conn.Write(b)
}

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
				_, err = a.Apply(t.Context(), machine.Command, "more")
				require.NoError(t, err)
				out, err := b.Apply(t.Context(), machine.Query, "sum")
				require.NoError(t, err)
				require.Equal(t, a.sum(t), string(out))
				b.restart(t)
				a.restart(t)
				await(t, func() bool { return b.sum(t) == string(out) && a.sum(t) == string(out) })
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

// fillAnyhow gives it n inputs, whatever the leader does meanwhile.
func (a *archivist) fillAnyhow(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		await(t, func() bool {
			_, err := a.Apply(t.Context(), machine.Command, fmt.Sprintf("%06d%s", i, strings.Repeat("y", 5<<10)))
			return err == nil
		})
	}
}

// Whatever calls for the machine's state at once, it is captured once at a time, and every capture is written.
func TestCapturesNeverOverlap(t *testing.T) {
	t.Parallel()
	small := func(o *raftpico.Options) { o.Limits.CompactAfter = 64 << 10 }
	a := startArchive(t, small)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	var asking sync.WaitGroup
	var put atomic.Int64
	stop := make(chan struct{})
	for i := range 6 {
		asking.Go(func() { // ends when it is told to
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch i % 3 {
				case 0:
					size := 10 << 10
					if put.Add(1) > 500 {
						size = 1 // the archive keeps everything: it must not grow faster than it travels
					}
					_, _ = a.Apply(context.Background(), machine.Command, strings.Repeat("z", size))
				case 1:
					_, _ = a.State(context.Background(), true)
				default:
					_, _ = a.TakeSnapshot(context.Background())
				}
			}
		})
	}
	b := startArchive(t, small)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	await(t, func() bool { return voters(t, b.Server) == 2 })
	close(stop)
	asking.Wait()
	require.NoError(t, b.Close())
	require.NoError(t, a.Close())
	a.m.check(t)
	b.m.check(t)
}

func TestServerStateWaitsForTheSnapshotThatIsMade(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 3, 1000)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "TakeSnapshot", ""))
	g.await(t)
	c.send(request("2", "GetServerState", ""), request("3", "GetServerState", ""), request("4", "GetServerState", `[false]`))
	require.Equal(t, "4", string(idOf(t, c.line())), "who does not want the machines does not wait")
	a.fill(t, 1, 1000) // meanwhile
	g.open()
	require.Equal(t, "1", string(idOf(t, c.line())))
	for range 2 {
		line := c.line()
		require.Contains(t, line, `"user":["000000xxx`)
		require.Equal(t, 4, strings.Count(line, `"00000`), "as of when it was captured")
	}
	require.NoError(t, a.Close())
	a.m.check(t)
	require.Less(t, a.m.captures, 6, "they share one")
}

func TestServerStateIsAnsweredByTheDeadline(t *testing.T) {
	t.Parallel()
	a := startArchive(t, func(o *raftpico.Options) { o.Limits.Deadline = 300 * time.Millisecond })
	g := newGate(t)
	a.m.nextWrite.Store(g)
	for range 2 { // one whose state is being written, and one that waits for that
		state, err := a.State(t.Context(), true)
		require.NoError(t, err)
		require.Nil(t, state.Machines)
		require.NotEmpty(t, state.Lack)
		require.NotEmpty(t, state.Version, "all else is there")
	}
	g.open()
	await(t, func() bool {
		state, err := a.State(t.Context(), true)
		return err == nil && state.Machines != nil && string(state.Machines.User) == "[]"
	})
}

func TestServerStateIsAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "GetServerState", ""))
	g.await(t)
	c.send(request("2", "GetServerState", ""), request("3", "GetServerState", "[false]"))
	require.Equal(t, "3", string(idOf(t, c.line())), "the others wait")
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }() // ends with Close
	for range 2 {
		line := c.line()
		require.Contains(t, line, `"result":{`)
		require.Contains(t, line, `"machines_missing":"`)
	}
	g.open()
	require.NoError(t, <-closed)
	a.m.check(t)
}

func TestServerStateHasItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 64 << 20
	piece := json.RawMessage(`"` + strings.Repeat("x", 1<<20-3) + `"`) // with a comma 1 MiB
	for _, size := range []int{limit, limit + 1} {
		kept := make([]json.RawMessage, 63)
		for i := range kept {
			kept[i] = piece
		}
		kept = append(kept, json.RawMessage(`"`+strings.Repeat("y", size-63<<20-4)+`"`))
		s, err := raftpico.Start(&archive{kept: kept}, raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet, Limits: raftpico.Limits{Deadline: 10 * time.Minute}})
		require.NoError(t, err)
		c := dial(t, s)
		c.send(request("1", "GetServerState", ""))
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Minute)))
		line, err := c.in.ReadString('\n')
		require.NoError(t, err)
		if size == limit {
			require.Greater(t, len(line), limit)
			require.False(t, strings.Contains(line, "machines_missing"))
			require.True(t, strings.Contains(line, `yyy"]}`))
		} else {
			require.Less(t, len(line), 4000)
			require.Contains(t, line, `more than 64 MiB`)
		}
		c.silent()
		require.NoError(t, s.Close())
	}
}

// insider speaks as a proven member that does as it likes.
type insider struct {
	t        *testing.T
	self     wire.Identity
	instance string
	addr     string
	target   *archivist
	to       peer.Name
	system   json.RawMessage
}

// playing is an insider that plays one member towards another: it knows what is in its file.
func playing(t *testing.T, self, target *archivist) *insider {
	t.Helper()
	p := &insider{t: t, addr: self.Addr(), target: target}
	_, err := storage.Inspect(storage.OS, self.opts.File, func(l *storage.Line) error {
		if r := l.Record; r != nil && r.Header != nil {
			p.instance = r.Header.Instance
		}
		if r := l.Record; r != nil && r.Identity != nil {
			p.self = *r.Identity
		}
		return nil
	})
	require.NoError(t, err)
	state, err := target.State(t.Context(), true)
	require.NoError(t, err)
	p.system = state.Machines.System
	return p
}

// connect proves it over a new connection.
func (p *insider) connect() *client {
	p.t.Helper()
	c := dial(p.t, p.target.Server)
	p.hello(c)
	return c
}

func (p *insider) hello(c *client) {
	p.t.Helper()
	var who struct{ Result peer.HelloAnswer }
	require.NoError(p.t, json.Unmarshal([]byte(p.say(c, peer.MethodHello, peer.Hello{Protocol: peer.Protocol})), &who))
	p.to = peer.Name{ID: who.Result.NodeID, Instance: who.Result.Instance}
	h := peer.Hello{Protocol: peer.Protocol, ClusterID: p.self.ClusterID, To: p.to,
		From: peer.Name{ID: p.self.NodeID, Instance: p.instance, Addr: p.addr}, Nonce: peer.NewNonce()}
	require.NoError(p.t, json.Unmarshal([]byte(p.say(c, peer.MethodHello, h)), &who))
	require.Equal(p.t, done, p.say(c, peer.MethodProve, peer.Prove{MAC: peer.MAC(p.self.Key, peer.Dialling, &h, who.Result.Nonce)}))
}

// done is the answer to a step that was taken.
var done = result("1", "{}")

// line is a request of a transfer.
func (p *insider) line(method string, params any) string {
	p.t.Helper()
	b, err := wire.Marshal(params)
	require.NoError(p.t, err)
	return request("1", method, string(b))
}

func (p *insider) say(c *client, method string, params any) string {
	p.t.Helper()
	return c.ask(p.line(method, params))
}

// offer is a MsgSnap of a snapshot so far beyond what the target has committed.
func (p *insider) offer(beyond uint64) *wire.Message {
	p.t.Helper()
	state, err := p.target.State(p.t.Context(), false)
	require.NoError(p.t, err)
	term := state.Term + 1
	return &wire.Message{From: p.self.NodeID, To: p.to.ID, Raft: &raftpb.Message{Type: raftpb.MsgSnap.Enum(), Term: &term},
		Snapshot: &wire.Snapshot{LastIncluded: wire.EntryID{Term: term, Index: state.CommitIndex + beyond}, Voters: []uint64{p.self.NodeID, p.to.ID},
			Learners: []uint64{}, Time: 1, Machines: wire.Machines{System: p.system}}}
}

func (p *insider) announce(c *client, m *wire.Message, bytes int) string {
	p.t.Helper()
	return p.say(c, peer.MethodSnapshot, p.announcement(m, bytes))
}

func (p *insider) announcement(m *wire.Message, bytes int) peer.Snapshot {
	p.t.Helper()
	b, err := wire.AppendMessage(nil, m)
	require.NoError(p.t, err)
	return peer.Snapshot{Message: b, Bytes: int64(bytes)}
}

func (p *insider) chunk(c *client, data string) string {
	p.t.Helper()
	return p.say(c, peer.MethodChunk, peer.Chunk{Data: []byte(data)})
}

func crcOf(data string) peer.Install {
	return peer.Install{CRC: crc32.Checksum([]byte(data), peer.Castagnoli)}
}

// gone waits until no reception has its file any more.
func (a *archivist) gone(t *testing.T) {
	t.Helper()
	await(t, func() bool { _, err := os.Stat(a.opts.File + ".new"); return errors.Is(err, os.ErrNotExist) })
}

const refused = `"error":{"code":`

func TestHostileMemberCantHarmByATransfer(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	a.fill(t, 5, 100)
	sum := b.sum(t)
	await(t, func() bool { sum = b.sum(t); return sum == a.sum(t) })
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	c := p.connect()
	good := `["a","b"]`
	unharmed := func(about string) {
		t.Helper()
		b.gone(t)
		require.Equal(t, sum, b.sum(t), about)
		c.silent()
	}

	for range 2 {
		failed(t, p.chunk(c, good), -32602)
		failed(t, p.say(c, peer.MethodInstall, crcOf(good)), -32602)
	}
	unharmed("steps without a beginning")

	change := func(f func(m *wire.Message)) *wire.Message {
		m := p.offer(50)
		f(m)
		return m
	}
	for name, m := range map[string]*wire.Message{
		"from another":      change(func(m *wire.Message) { m.From = 77 }),
		"to another":        change(func(m *wire.Message) { m.To = 77 }),
		"an old term":       change(func(m *wire.Message) { *m.Raft.Term = 1; m.Snapshot.LastIncluded.Term = 1 }),
		"a term far away":   change(func(m *wire.Message) { *m.Raft.Term = 1 << 60 }),
		"an old index":      change(func(m *wire.Message) { m.Snapshot.LastIncluded.Index -= 50 }),
		"no index":          change(func(m *wire.Message) { m.Snapshot.LastIncluded.Index = 0 }),
		"an index too far":  change(func(m *wire.Message) { m.Snapshot.LastIncluded.Index = 1 << 63 }),
		"a newer term":      change(func(m *wire.Message) { m.Snapshot.LastIncluded.Term++ }),
		"no voters":         change(func(m *wire.Message) { m.Snapshot.Voters = nil }),
		"a voter twice":     change(func(m *wire.Message) { m.Snapshot.Voters = []uint64{1, 1} }),
		"no member list":    change(func(m *wire.Message) { m.Snapshot.Machines.System = json.RawMessage(`{}`) }),
		"a list of another": change(func(m *wire.Message) { m.Snapshot.Machines.System = json.RawMessage(`[1]`) }),
		"a heartbeat":       change(func(m *wire.Message) { m.Raft.Type = raftpb.MsgHeartbeat.Enum() }),
	} {
		require.Contains(t, p.announce(c, m, len(good)), refused, name)
		require.Contains(t, p.chunk(c, good), refused, name)
		unharmed(name)
	}
	for _, params := range []string{`{}`, `[]`, `5`, `{"message":{},"bytes":1}`, `{"message":{"type":"MsgSnap","term":9},"bytes":1}`, `{"message":null}`,
		`{"message":{"type":"Propose","boot":"a","commands":[]},"bytes":1}`, `{"bytes":"x"}`} {
		require.Contains(t, c.ask(request("1", peer.MethodSnapshot, params)), refused, params)
	}
	unharmed("announcements that are none")

	for name, sent := range map[string]struct {
		chunks []string
		bytes  int
		crc    uint32
	}{
		"fewer bytes":   {[]string{good}, len(good) + 1, 0},
		"more bytes":    {[]string{good}, len(good) - 1, 0},
		"less than no":  {[]string{good}, -1, 0},
		"a wrong crc":   {[]string{good}, len(good), 1},
		"nothing":       {nil, 0, 0},
		"empty chunks":  {[]string{"", ""}, 0, 0},
		"no JSON":       {[]string{"nonsense"}, 8, 0},
		"half":          {[]string{`["a`, `"`}, 4, 0},
		"two values":    {[]string{"[]", "[]"}, 4, 0},
		"no UTF-8":      {[]string{"[\"\xff\"]"}, 5, 0},
		"a newline":     {[]string{"[\"\n\"]"}, 5, 0},
		"too deep":      {[]string{strings.Repeat("[", 1<<20)}, 1 << 20, 0},
		"another state": {[]string{`{"no":"list"}`}, 13, 0}, // which the machine refuses
	} {
		require.Equal(t, done, p.announce(c, p.offer(50), sent.bytes), name)
		last := done
		for _, data := range sent.chunks {
			if last = p.chunk(c, data); last != done {
				require.Contains(t, last, refused)
				break
			}
		}
		if last == done {
			install := crcOf(strings.Join(sent.chunks, ""))
			install.CRC += sent.crc
			require.Contains(t, p.say(c, peer.MethodInstall, install), refused, name)
		}
		unharmed(name)
	}
	for _, params := range []string{`{"data":"*"}`, `{"data":"YQ==","data":"YQ=="}`, `[]`, `{"data":"\u0059Q=="}`} {
		require.Equal(t, done, p.announce(c, p.offer(50), 1))
		require.Contains(t, c.ask(request("1", peer.MethodChunk, params)), refused, params)
		unharmed(params)
	}
	require.Equal(t, done, p.announce(c, p.offer(50), len(good)))
	require.Contains(t, c.ask(request("1", peer.MethodInstall, `["now"]`)), refused)
	unharmed("an Install that is none")

	require.Equal(t, done, p.announce(c, p.offer(50), len(good)))
	require.Equal(t, done, p.chunk(c, good))
	p.hello(c)
	failed(t, p.chunk(c, good), -32602)
	unharmed("a Hello in the middle")

	for steps := range 3 { // and then the connection is lost, with a reset or not
		d := p.connect()
		require.Equal(t, done, p.announce(d, p.offer(50), len(good)))
		for range steps {
			require.Equal(t, done, p.chunk(d, ` `))
		}
		if steps == 1 {
			require.NoError(t, d.Conn.(*net.TCPConn).SetLinger(0))
		}
		require.NoError(t, d.Close())
		unharmed("a connection that is lost")
	}

	require.Equal(t, done, p.announce(c, change(func(m *wire.Message) { m.Snapshot.Voters = []uint64{1} }), len(good)))
	require.Equal(t, done, p.chunk(c, good))
	require.Contains(t, p.say(c, peer.MethodInstall, crcOf(good)), refused, "the library ignores what does not name us")
	unharmed("a configuration without the target")

	a.start(t) // with the file as it was
	_, err := b.Apply(t.Context(), machine.Command, "more")
	for errors.Is(err, raftpico.ErrRejected) || errors.Is(err, raftpico.ErrNoLeader) {
		_, err = b.Apply(t.Context(), machine.Command, "more")
	}
	require.NoError(t, err)
	await(t, func() bool { return a.sum(t) == b.sum(t) })
	b.restart(t)
	await(t, func() bool { return a.sum(t) == b.sum(t) })
}

// One at a time: the newer transfer supersedes the older one, whose sender is told.
func TestTwoTransfersAtOnce(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	first, second := p.connect(), p.connect()
	older, newer := p.offer(50), p.offer(60)
	require.Equal(t, done, p.announce(first, older, 5))
	require.Equal(t, done, p.chunk(first, `["a`))
	require.Equal(t, done, p.announce(second, newer, 5))
	require.Equal(t, done, p.chunk(second, `["b`))
	require.Equal(t, done, p.chunk(first, `"]`), "it writes into a file without a name")
	require.Contains(t, p.say(first, peer.MethodInstall, crcOf(`["a"]`)), refused)
	require.Equal(t, done, p.chunk(second, `"]`))
	require.Equal(t, done, p.say(second, peer.MethodInstall, crcOf(`["b"]`)))
	failed(t, p.say(second, peer.MethodInstall, crcOf(`["b"]`)), -32602)
	failed(t, p.chunk(second, `x`), -32602)
	want := fmt.Sprintf(`"1 inputs, %08x"`, crc32.Checksum([]byte(`"b"`), peer.Castagnoli))
	require.Equal(t, want, b.sum(t))
	require.Contains(t, p.announce(first, older, 5), refused, "it is old by now")
	b.gone(t)
	b.restart(t)
	require.Equal(t, want, b.sum(t))
	require.NoError(t, b.Close())
	b.m.check(t)
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

// The last piece of one transfer and the first of another may reach the loop in the same turn.
func TestTransferThatBeginsAsAnotherEndsHarmsNothing(t *testing.T) {
	a, b := pair(t, false)
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	first, second := p.connect(), p.connect()
	older, newer := p.offer(50), p.offer(60)
	require.Equal(t, done, p.announce(first, older, 5))
	require.Equal(t, done, p.chunk(first, `["a"]`))
	g := newGate(t)
	b.m.nextHold.Store(g)
	go func() { _, _ = b.Apply(context.Background(), machine.LocalQuery, "hold") }() // ends when the gate is open
	g.await(t)                                                                       // the loop takes nothing more
	loads := b.m.loaded()
	first.send(p.line(peer.MethodInstall, crcOf(`["a"]`)))
	await(t, func() bool {
		return b.m.loaded() > loads && goroutines("front.(*session).install(") > 0 && goroutines("loop.(*Reception).load(") == 0
	})
	second.send(p.line(peer.MethodSnapshot, p.announcement(newer, 5)))
	await(t, func() bool { return goroutines("front.(*Front).beginReception(") > 0 })
	g.open()
	first.line() // one of them may be refused
	second.line()
	if _, err := b.State(t.Context(), false); err != nil {
		require.NoError(t, b.Wait(), "the server has failed")
	}
	b.restart(t)
}

// What was not announced is refused before it has filled the disk.
func TestTransferOfMoreThanWasAnnouncedIsRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{"text": strings.Repeat("x", 1<<20), "white space": strings.Repeat(" ", 1<<20)} {
		for _, inMemory := range []bool{false, true} {
			a, b := pair(t, inMemory)
			p := playing(t, a, b)
			require.NoError(t, a.Close())
			c := p.connect()
			require.Equal(t, done, p.announce(c, p.offer(50), 100))
			if name == "text" {
				p.chunk(c, `["`)
			}
			answer := done
			for i := 0; i < 8 && answer == done; i++ {
				answer = p.chunk(c, data)
			}
			require.Contains(t, answer, refused, "8 MiB of %s were taken where 100 bytes were announced; in memory: %v", name, inMemory)
		}
	}
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

// machine.Snapshotter: the server "captures again only when [write] has returned", also if a snapshot from the leader
// has passed over the one that is being written.
func TestInstalledSnapshotDoesNotHurryCaptures(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{false, true} {
		a, b := pair(t, inMemory)
		p := playing(t, a, b)
		g := newGate(t)
		b.m.nextWrite.Store(g)
		_, err := a.TakeSnapshot(t.Context())
		require.NoError(t, err)
		g.await(t)
		require.NoError(t, a.Close())
		c := p.connect()
		require.Equal(t, done, p.announce(c, p.offer(50), 5))
		require.Equal(t, done, p.chunk(c, `["a"]`))
		require.Equal(t, done, p.say(c, peer.MethodInstall, crcOf(`["a"]`)))
		d := dial(t, b.Server)
		d.send(request("1", "GetServerState", ""), request("2", "GetServerState", "[false]"))
		first := d.line() // by now the other one was taken in
		g.open()
		require.ElementsMatch(t, []string{"1", "2"}, []string{string(idOf(t, first)), string(idOf(t, d.line()))})
		require.NoError(t, b.Close())
		b.m.check(t)
	}
}

func TestStoppingServerDoesNotHurryCaptures(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "TakeSnapshot", ""))
	g.await(t)
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }() // ends with Close
	await(t, func() bool {
		_, err := a.Apply(t.Context(), machine.Command, 1)
		return errors.Is(err, raftpico.ErrRejected)
	})
	c.send(request("2", "GetServerState", ""))
	answers := c.line()
	g.open()
	answers += c.line()
	require.Contains(t, answers, `"id":1,`)
	require.Contains(t, answers, `"id":2,`)
	require.NoError(t, <-closed)
	a.m.check(t)
}

func TestCreateClusterDoesNotHurryCaptures(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "GetServerState", ""))
	g.await(t)
	c.send(request("2", "CreateCluster", ""), request("3", "GetServerState", "[false]"))
	answers := c.line() // by now the others were taken in
	g.open()
	answers += c.line() + c.line()
	require.True(t, strings.Contains(answers, `{"members":["`) || strings.Contains(answers, `"code":110`), answers)
	require.NoError(t, a.Close())
	a.m.check(t)
}

// A transfer whose sender has fallen silent must not keep a server from shortening its log for ever: when the log has
// passed the transfer's index, it is of no use.
func TestStalledTransferDoesNotPreventSnapshots(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	p := playing(t, a, b)
	c := p.connect()
	m := p.offer(3)
	*m.Raft.Term--
	m.Snapshot.LastIncluded.Term--
	require.Equal(t, done, p.announce(c, m, 1000))
	require.Equal(t, done, p.chunk(c, `["a`)) // and nothing more
	a.fill(t, 20, 10)
	await(t, func() bool { return a.sum(t) == b.sum(t) })
	_, err := b.TakeSnapshot(t.Context())
	require.NoError(t, err)
}

// A server without a file whose own snapshot is overtaken by one from the leader can send that one on.
func TestOvertakenSnapshotInMemoryIsNotKept(t *testing.T) {
	t.Parallel()
	a, b := pair(t, true)
	a.fill(t, 3, 10)
	p := playing(t, a, b)
	g := newGate(t)
	b.m.nextWrite.Store(g)
	_, err := a.TakeSnapshot(t.Context())
	require.NoError(t, err)
	g.await(t)
	require.NoError(t, a.Close())
	c := p.connect()
	require.Equal(t, done, p.announce(c, p.offer(1000), 5))
	require.Equal(t, done, p.chunk(c, `["a"]`))
	require.Equal(t, done, p.say(c, peer.MethodInstall, crcOf(`["a"]`)))
	g.open()
	await(t, func() bool { return b.m.unwritten() == 0 })
	state, err := b.State(t.Context(), true) // the end of the job has been heard of before this
	require.NoError(t, err)
	require.NotNil(t, state.Machines)
	sum := b.sum(t)
	a.start(t) // far behind: it needs the snapshot, and its vote is needed
	await(t, func() bool { return a.sum(t) == sum })
}

// Who asks for the state without end must not keep the log from being shortened.
func TestServerStateDoesNotStarveSnapshots(t *testing.T) {
	t.Parallel()
	a := startArchive(t, func(o *raftpico.Options) { o.Limits.CompactAfter = 64 << 10 })
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	c := dial(t, a.Server)
	ask := request("1", "GetServerState", "")
	first := newGate(t)
	a.m.nextWrite.Store(first)
	c.send(ask)
	first.await(t)
	a.fill(t, 3, 100<<10) // the log is long
	begun := false
	for range 4 {
		c.send(ask, request("2", "GetServerState", "[false]"))
		require.Contains(t, c.line(), `"id":2,`) // the other one waits behind the first
		next := newGate(t)
		a.m.nextWrite.Store(next)
		first.open()
		next.await(t)
		_, err := os.Stat(a.opts.File + ".new")
		begun = begun || err == nil
		first = next
		for !begun { // the answer to the one before
			if line := c.line(); strings.Contains(line, `"id":1,`) {
				break
			}
		}
		if begun {
			break
		}
	}
	first.open()
	require.True(t, begun, "four states were encoded, one behind the other, and no snapshot")
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

// slow is a machine that writes its state for as long as anybody wants it.
type slow struct {
	archive
	writing, told atomic.Bool
	enough        chan struct{}
}

func (m *slow) Capture() (func(io.Writer) error, error) {
	return func(w io.Writer) error {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		sep := "["
		for {
			if _, err := io.WriteString(w, sep+`"`+strings.Repeat("s", 100)+`"`); err != nil {
				m.told.Store(true)
				return err
			}
			sep = ","
			m.writing.Store(true)
			select {
			case <-pace.C:
			case <-m.enough:
				_, err := io.WriteString(w, "]")
				return err
			}
		}
	}, nil
}

// machine.Snapshotter: "a snapshot that is no longer wanted shows as an error of w".
func TestWriteOfAnUnwantedStateIsToldSo(t *testing.T) {
	t.Parallel()
	for name, began := range map[string]string{"TakeSnapshot": request("1", "TakeSnapshot", ""), "GetServerState": request("1", "GetServerState", "")} {
		for _, inMemory := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s at the end, in memory %v", name, inMemory), func(t *testing.T) {
				m := &slow{enough: make(chan struct{})}
				close(m.enough) // CreateCluster captures, too
				s := startServer(t, m, func(o *raftpico.Options) {
					if inMemory {
						o.File, o.InMemory = "", true
					}
				})
				_, err := s.CreateCluster(t.Context(), calm)
				require.NoError(t, err)
				m.enough = make(chan struct{})
				m.writing.Store(false)
				enough := sync.OnceFunc(func() { close(m.enough) })
				t.Cleanup(enough)
				dial(t, s).send(began)
				await(t, m.writing.Load)
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }() // ends with Close
				select {
				case err := <-closed:
					require.NoError(t, err)
				case <-time.After(30 * time.Second):
					enough()
					<-closed
					require.Fail(t, "Close waited for a state that nobody wants")
				}
			})
		}
	}
}

// A reception that was superseded leaves nothing open when the server is closed.
func TestSupersededTransferLeavesNoFileOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	a, b := pair(t, false)
	p := playing(t, a, b)
	require.NoError(t, a.Close())
	for i := range 3 {
		c := p.connect()
		require.Equal(t, done, p.announce(c, p.offer(50+uint64(i)), 100))
		require.Equal(t, done, p.chunk(c, `["a`))
	}
	require.NoError(t, b.Close())
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			require.NotContains(t, name, filepath.Dir(b.opts.File))
		}
	}
}
