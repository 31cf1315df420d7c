package raftpico_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	callers "github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

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
	createdOnce(t, members...)
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
	createdOnce(t, first, second, third)
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
	require.Eventually(t, func() bool {
		_, err := second.RemoveServer(ctx, wiped.Addr())
		return err == nil || errors.Is(err, raftpico.ErrNotMember)
	}, joinPatience, time.Millisecond)
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
	require.Eventually(t, func() bool {
		_, err := first.RemoveServer(ctx, second.Addr())
		return err == nil || errors.Is(err, raftpico.ErrNotMember)
	}, joinPatience, time.Millisecond)
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
