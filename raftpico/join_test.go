package raftpico_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	callers "github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

const joinPatience = 30 * time.Second

// brisk are election timeouts for tests.
var brisk = raftpico.Timeouts{Min: 150 * time.Millisecond, Max: 300 * time.Millisecond}

// joining is servers on a network in memory, with files, that join each other.
type joining struct {
	memnet.Network
	t     *testing.T
	dir   string
	addrs []string
}

func newJoining(t *testing.T, n int) *joining {
	w := &joining{t: t, dir: t.TempDir()}
	for i := range n {
		w.addrs = append(w.addrs, fmt.Sprintf("server-%d:4000", i+1))
	}
	return w
}

// member is a server of a world.
type member struct {
	*raftpico.Server
	w   *joining
	log *logged
}

// start starts the i-th server, which joins nobody.
func (w *joining) start(i int) *member { return w.begin(i, nil, 0) }

// join starts the i-th server, which joins the others.
func (w *joining) join(i int, bootstrap bool) *member {
	n := 0
	if bootstrap {
		n = len(w.addrs)
	}
	return w.begin(i, w.addrs, n)
}

func (w *joining) begin(i int, join []string, bootstrap int) *member {
	w.t.Helper()
	m, err := w.tryToBegin(i, join, bootstrap)
	require.NoError(w.t, err)
	return m
}

func (w *joining) tryToBegin(i int, join []string, bootstrap int) (*member, error) {
	addr := w.addrs[i]
	listener, err := w.Listen(addr)
	require.NoError(w.t, err)
	m := &member{w: w, log: new(logged)}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(w.t.Output(), m.log), nil))
	m.Server, err = raftpico.Start(machine.JSON(&counter{}), raftpico.Options{
		Addr: addr, File: filepath.Join(w.dir, addr), Listener: listener, Dial: w.Dialer(addr), Logger: logger,
		Join: join, Bootstrap: bootstrap, Timeouts: brisk, Limits: raftpico.Limits{Deadline: time.Second}})
	if err == nil {
		w.t.Cleanup(func() { _ = m.stop() })
	}
	return m, err
}

// again starts the i-th server anew, so that it joins the others.
func (m *member) again(i int) *member {
	m.w.t.Helper()
	require.NoError(m.w.t, m.stop())
	return m.w.join(i, true)
}

func (m *member) stop() error { return m.Close() }

// await waits until a server has joined.
func (m *member) await() {
	m.w.t.Helper()
	require.Eventually(m.w.t, func() bool { return m.Status().NodeID != 0 }, joinPatience, 5*time.Millisecond, "%s\n%s", m.Addr(), m.log.String())
}

// says waits until the log has a text.
func (m *member) says(text string) {
	m.w.t.Helper()
	require.Eventually(m.w.t, func() bool { return strings.Contains(m.log.String(), text) }, joinPatience, 5*time.Millisecond, "%s says no %q", m.Addr(), text)
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
		}, joinPatience, 5*time.Millisecond, "%s: %v", m.Addr(), m.Status())
	}
	ctx, cancel := context.WithTimeout(t.Context(), joinPatience)
	defer cancel()
	for _, m := range members {
		_, err := raftpico.Apply[int](ctx, m.Server, 1)
		require.NoError(t, err, m.Addr())
	}
}

// created counts the clusters that were ever created.
func created(members ...*member) (n int) {
	for _, m := range members {
		n += strings.Count(m.log.String(), "cluster created")
	}
	return n
}

func TestServersThatStartAtOnceMakeOneCluster(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 5)
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
	t.Parallel()
	w := newJoining(t, 3)
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
	t.Parallel()
	w := newJoining(t, 3)
	first := w.start(0)
	second, third := w.join(1, true), w.join(2, true)
	second.says("it was not started to create a cluster with others")
	third.says("it was not started to create a cluster with others")
	second.outside()
	third.outside()
	first = first.again(0)
	for _, m := range []*member{first, second, third} {
		m.await()
	}
	one(t, first, second, third)
}

// Whoever is started again at any time after the first has created a cluster finds it.
func TestServersFindTheClusterThatOneHasCreated(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 3)
	first := w.start(0)
	_, err := first.CreateCluster(t.Context(), brisk)
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
	t.Parallel()
	w := newJoining(t, 3)
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
	ctx, cancel := context.WithTimeout(t.Context(), joinPatience)
	defer cancel()
	require.Eventually(t, func() bool { _, err := second.RemoveServer(ctx, wiped.Addr()); return err == nil }, joinPatience, time.Millisecond)
	wiped.await()
	one(t, second, third, wiped)
	require.Zero(t, created(wiped))
}

// All but one have lost their files, and the one is away: it may come back.
func TestWipedServersWaitForTheOneThatKnows(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 3)
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
	t.Parallel()
	w := newJoining(t, 2)
	first, second := w.join(0, false), w.join(1, false)
	first.says("the others belong to no cluster yet")
	second.outside()
	_, err := second.CreateCluster(t.Context(), brisk)
	require.NoError(t, err)
	first.await()
	second.await()
	one(t, first, second)
}

func TestServerIsAddedByAnyMember(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 3)
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
	t.Parallel()
	w := newJoining(t, 1)
	m := w.join(0, true)
	m.await()
	one(t, m)
}

func TestRemovedServerIsToldSo(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 2)
	first, second := w.join(0, true), w.join(1, true)
	first.await()
	second.await()
	one(t, first, second)
	ctx, cancel := context.WithTimeout(t.Context(), joinPatience)
	defer cancel()
	_, err := first.RemoveServer(ctx, second.Addr())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return second.Status().Removed }, joinPatience, time.Millisecond)
	second = second.again(1)
	second.says("delete its file to have it added anew")

	// What a removed server says is no "none": another one must not take it for a free hand.
	w.addrs = []string{"server-0:4000", second.Addr()}
	stranger := w.join(0, true)
	stranger.says("can add nobody")
	stranger.outside()
}

// Two addresses of the list lead to one server: then not all are there.
func TestNoClusterIsCreatedWhereNamesDiffer(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 3)
	alias := w.addrs[2]
	listener, err := w.Listen(alias)
	require.NoError(t, err)
	defer listener.Close()
	go forward(listener, w.Dialer(alias), w.addrs[1])
	first, second := w.join(0, true), w.join(1, true)
	first.says("another address than it was asked at")
	first.outside()
	second.outside()
}

// Servers with different lists create nothing, and both say why.
func TestNoClusterIsCreatedWhereListsDiffer(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 3)
	first := w.begin(0, w.addrs[:2], 2)
	second, third := w.join(1, true), w.join(2, true)
	first.says("it was started with other servers: server-1:4000,server-2:4000,server-3:4000")
	second.says("no part in a cluster to come")
	third.says("it was started with other servers: server-1:4000,server-2:4000\"")
	first.outside()
	second.outside()
	third.outside()
}

func TestBadJoinIsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []struct {
		want string
		opts raftpico.Options
	}{
		{"no host:port", raftpico.Options{Join: []string{"a"}}},
		{"given twice", raftpico.Options{Join: []string{"b:1", "B:01"}}},
		{"no address of another server", raftpico.Options{Join: []string{"a:1"}}},
		{"2 servers are to create the cluster, and 1 addresses", raftpico.Options{Join: []string{"a:1"}, Bootstrap: 2}},
		{"1 servers are to create the cluster, and 0 addresses", raftpico.Options{Bootstrap: 1}},
		{"own address a:1 must be one of", raftpico.Options{Join: []string{"b:1"}, Bootstrap: 1}},
		{"-1 servers", raftpico.Options{Bootstrap: -1}},
		{"33 servers", raftpico.Options{Bootstrap: 33}},
		{"election timeouts", raftpico.Options{Join: []string{"a:1"}, Bootstrap: 1, Timeouts: raftpico.Timeouts{Min: time.Microsecond}}},
	} {
		file := filepath.Join(t.TempDir(), "log")
		o.opts.Addr, o.opts.File, o.opts.Logger = "a:1", file, quiet
		_, err := raftpico.Start(machine.JSON(&counter{}), o.opts)
		require.ErrorContains(t, err, o.want)
		require.NoFileExists(t, file)
	}
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

// A server that still asks ends at once when it is told to.
func TestServerThatJoinsCanBeClosed(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 2)
	m := w.join(0, true)
	m.says("no answer")
	began := time.Now()
	require.NoError(t, m.Close())
	require.Less(t, time.Since(began), joinPatience)
}

// TestClientsMayBeThereBeforeTheCluster: who looks for its cluster tells them to wait.
func TestClientsMayBeThereBeforeTheCluster(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 2)
	first := w.join(0, true)
	_, err := raftpico.Apply[int](t.Context(), first.Server, 1)
	require.ErrorIs(t, err, raftpico.ErrNoLeader)
	require.ErrorContains(t, err, "looks for its cluster")
	_, err = first.AddServer(t.Context(), w.addrs[1])
	require.ErrorIs(t, err, raftpico.ErrNoLeader)

	c := callers.NewWith(callers.Options{Dial: w.Dialer("client:1")}, w.addrs[0])
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), joinPatience)
	defer cancel()
	failed := make(chan error, 1)
	done := make(chan error, 1)
	go func() {
		done <- c.Apply(callers.WithFailures(ctx, func(err error) {
			select {
			case failed <- err:
			default:
			}
		}), machine.Command, 1, nil)
	}()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, callers.ErrNoLeader)
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	second := w.join(1, true)
	require.NoError(t, <-done)
	one(t, first, second)
	require.NoError(t, first.stop())
	require.NoError(t, second.stop())
}

// TestRefusalsAreLoggedOncePerAsker: several that ask in turn make no endless log.
func TestRefusalsAreLoggedOncePerAsker(t *testing.T) {
	t.Parallel()
	w := newJoining(t, 3)
	third := w.join(2, false)
	w.join(0, true)
	w.join(1, true)
	third.says(`"asked by"=server-1:4000`)
	third.says(`"asked by"=server-2:4000`)
	require.Never(t, func() bool { return strings.Count(third.log.String(), "no part in a cluster to come") > 2 }, time.Second, 10*time.Millisecond)
}
