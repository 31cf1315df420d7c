package serve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

const patience = 30 * time.Second

// brief are election timeouts for tests.
var brief = raftpico.Timeouts{Min: 150 * time.Millisecond, Max: 300 * time.Millisecond}

// world is servers on a network in memory, with files, that join each other.
type world struct {
	memnet.Network
	t     *testing.T
	dir   string
	addrs []string
}

func newWorld(t *testing.T, n int) *world {
	w := &world{t: t, dir: t.TempDir()}
	for i := range n {
		w.addrs = append(w.addrs, fmt.Sprintf("server-%d:4000", i+1))
	}
	return w
}

// member is a server of a world, and its Join.
type member struct {
	*raftpico.Server
	w      *world
	log    *journal
	cancel context.CancelFunc
	joined chan error
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.Write(b)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said.String()
}

// start starts the i-th server and nothing else.
func (w *world) start(i int) *member {
	w.t.Helper()
	addr := w.addrs[i]
	listener, err := w.Listen(addr)
	require.NoError(w.t, err)
	m := &member{w: w, log: &journal{}, cancel: func() {}}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(w.t.Output(), m.log), nil))
	m.Server, err = raftpico.Start(newCounter(), raftpico.Options{
		Addr: addr, File: filepath.Join(w.dir, addr), Listener: listener, Dial: w.Dialer(addr), Logger: logger,
		Limits: raftpico.Limits{Deadline: time.Second}})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = m.stop() })
	return m
}

// join starts the i-th server, and Join beside it.
func (w *world) join(i int, bootstrap bool) *member {
	w.t.Helper()
	m := w.start(i)
	m.join(bootstrap)
	return m
}

func (m *member) join(bootstrap bool) {
	ctx, cancel := context.WithCancel(m.w.t.Context())
	m.cancel, m.joined = cancel, make(chan error, 1)
	go func() {
		m.joined <- Join(ctx, m.Server, JoinOptions{Addrs: m.w.addrs, Bootstrap: bootstrap, Timeouts: brief, Dial: m.w.Dialer(m.Addr()),
			Logger: slog.New(slog.NewTextHandler(io.MultiWriter(m.w.t.Output(), m.log), nil)), slow: 200 * time.Millisecond})
	}()
}

func (m *member) stop() error {
	m.cancel()
	return m.Close()
}

// await waits for the end of a Join.
func (m *member) await() {
	m.w.t.Helper()
	select {
	case err := <-m.joined:
		require.NoError(m.w.t, err, m.Addr())
	case <-time.After(patience):
		require.FailNow(m.w.t, "it does not join", "%s\n%s", m.Addr(), m.log.text())
	}
}

// says waits until the log has a text.
func (m *member) says(text string) {
	m.w.t.Helper()
	require.Eventually(m.w.t, func() bool { return strings.Contains(m.log.text(), text) }, patience, 5*time.Millisecond, "%s says no %q", m.Addr(), text)
}

// outside checks that a server belongs to no cluster, and does so for a while.
func (m *member) outside() {
	m.w.t.Helper()
	require.Never(m.w.t, func() bool { return m.Status().NodeID != 0 }, 400*time.Millisecond, 10*time.Millisecond, m.Addr())
}

// one checks that all belong to the same cluster, as voters.
func one(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		require.Equal(t, members[0].Status().ClusterID, m.Status().ClusterID, m.Addr())
		require.Eventually(t, func() bool {
			now := m.Status()
			voters := slices.DeleteFunc(slices.Clone(now.Members), func(m raftpico.Member) bool { return m.Role != "Voter" })
			return len(voters) == len(members) && len(now.Members) == len(members)
		}, patience, 5*time.Millisecond, "%s: %v", m.Addr(), m.Status())
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range members {
		_, err := raftpico.Apply[int](ctx, m.Server, 1)
		require.NoError(t, err, m.Addr())
	}
}

// created counts the clusters that were ever created.
func created(members ...*member) (n int) {
	for _, m := range members {
		n += strings.Count(m.log.text(), "cluster created")
	}
	return n
}

func TestServersThatStartAtOnceMakeOneCluster(t *testing.T) {
	w := newWorld(t, 5)
	var members []*member
	for _, i := range []int{3, 1, 4, 0, 2} {
		members = append(members, w.join(i, true))
	}
	for _, m := range members {
		m.await()
	}
	one(t, members...)
	require.Equal(t, 1, created(members...))
}

func TestNobodyCreatesAClusterWhileOneIsAway(t *testing.T) {
	w := newWorld(t, 3)
	first, second := w.join(0, true), w.join(1, true)
	first.says("no answer")
	first.outside()
	second.outside()
	w.Cut(w.addrs[0], w.addrs[2]) // it lives, and the first can't hear it
	third := w.join(2, true)
	third.outside()
	first.outside()
	w.Heal()
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
	require.Equal(t, 1, created(first, second, third))
}

// All are there, but the one that may create the cluster does not.
func TestOnlyTheFirstCreatesACluster(t *testing.T) {
	w := newWorld(t, 3)
	first := w.start(0)
	second, third := w.join(1, true), w.join(2, true)
	second.says("waiting for the cluster to be created")
	third.says("waiting for the cluster to be created")
	second.outside()
	third.outside()
	first.join(true)
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
}

// Whoever is started again at any time after the first has created a cluster finds it.
func TestServersFindTheClusterThatOneHasCreated(t *testing.T) {
	w := newWorld(t, 3)
	first := w.start(0)
	_, err := first.CreateCluster(t.Context(), brief)
	require.NoError(t, err)
	require.NoError(t, first.stop()) // it crashes before it has heard of anybody
	second, third := w.join(1, true), w.join(2, true)
	second.outside()
	first = w.join(0, true)
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
	require.Zero(t, created(first, second, third), "another cluster")
	require.NoError(t, third.stop())
	third = w.join(2, true)
	third.await()
	one(t, first, second, third)
}

// The first one has lost its file. It must not begin another cluster, nor vote in the old one, until somebody removes it.
func TestWipedServerIsNotAddedBeforeItIsRemoved(t *testing.T) {
	w := newWorld(t, 3)
	first, second, third := w.join(0, true), w.join(1, true), w.join(2, true)
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
	require.NoError(t, first.stop())
	w.dir = t.TempDir()
	wiped := w.join(0, true)
	wiped.says("remove the member first (RemoveServer)")
	wiped.outside()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.Eventually(t, func() bool { _, err := second.RemoveServer(ctx, wiped.Addr()); return err == nil }, patience, time.Millisecond)
	wiped.await()
	one(t, second, third, wiped)
	require.Zero(t, created(wiped))
}

// All but one have lost their files, and the one is away: it may come back.
func TestWipedServersWaitForTheOneThatKnows(t *testing.T) {
	w := newWorld(t, 3)
	first, second, third := w.join(0, true), w.join(1, true), w.join(2, true)
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
	for _, m := range []*member{first, second, third} {
		require.NoError(t, m.stop())
	}
	kept := w.dir
	w.dir = t.TempDir()
	first, second = w.join(0, true), w.join(1, true)
	first.says("no answer")
	first.outside()
	w.dir = kept
	third = w.join(2, true)
	third.await()
	first.says("not added") // it has no quorum; nobody can help but an operator
	first.outside()
	second.outside()
	require.Zero(t, created(first, second, third))
}

func TestServerThatMayNotCreateWaitsForAMember(t *testing.T) {
	w := newWorld(t, 2)
	first, second := w.join(0, false), w.join(1, false)
	first.says("the others belong to no cluster yet")
	second.outside()
	_, err := second.CreateCluster(t.Context(), brief)
	require.NoError(t, err)
	first.await()
	second.await()
	one(t, first, second)
}

func TestServerIsAddedByAnyMember(t *testing.T) {
	w := newWorld(t, 3)
	first, second, third := w.join(0, true), w.join(1, true), w.join(2, true)
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
	w.addrs = []string{"nobody:4000", third.Addr(), "server-0:4000"} // it sorts first, and may create none
	fourth := w.join(2, false)
	fourth.await()
	one(t, first, second, third, fourth)
}

func TestServerOfOneMakesAClusterByItself(t *testing.T) {
	w := newWorld(t, 1)
	m := w.join(0, true)
	m.await()
	one(t, m)
}

func TestRemovedServerIsToldSo(t *testing.T) {
	w := newWorld(t, 2)
	first, second := w.join(0, true), w.join(1, true)
	first.await()
	second.await()
	one(t, first, second)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := first.RemoveServer(ctx, second.Addr())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return second.Status().Removed }, patience, time.Millisecond)
	second.join(true)
	require.ErrorIs(t, <-second.joined, raftpico.ErrNotMember)

	// What a removed server says is no "none": another one must not take it for a free hand.
	w.addrs = []string{"server-0:4000", second.Addr()}
	stranger := w.join(0, true)
	stranger.says("can add nobody")
	stranger.outside()
}

// A server that is known by another name than the list has could be in another list, too.
func TestNoClusterIsCreatedWhereNamesDiffer(t *testing.T) {
	w := newWorld(t, 2)
	second := w.start(1)
	alias := "also-server-2:4000"
	listener, err := w.Listen(alias)
	require.NoError(t, err)
	defer listener.Close()
	go forward(listener, w.Dialer(alias), second.Addr())
	w.addrs[1] = alias
	first := w.join(0, true)
	first.says("another address than it was asked at")
	first.outside()
}

// forward passes connections on until the listener is closed.
func forward(l net.Listener, dial func(ctx context.Context, network, addr string) (net.Conn, error), to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := dial(context.Background(), "tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			}()
		}
	}
}

func TestJoinEndsWithItsContextAndWithTheServer(t *testing.T) {
	w := newWorld(t, 2)
	m := w.join(0, true)
	m.says("no answer")
	m.cancel()
	require.ErrorIs(t, <-m.joined, context.Canceled)
	m.join(true)
	require.NoError(t, m.Close())
	require.ErrorIs(t, <-m.joined, raftpico.ErrRejected)
}
