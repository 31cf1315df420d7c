package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		if add < 0 {
			return nil, &machine.Error{Code: 1001, Message: "no way back", Data: refusal{Asked: add}}
		}
		c.Value += add
	}
	return c.Value, nil
}

// refusal is the data of a counter's own error.
type refusal struct{ Asked int }

func startCounters(t *testing.T, n int) *memnet.Cluster {
	return memnet.Start(t, n, func() machine.Machine { return machine.JSON(&counter{}) })
}

var quiet = slog.New(slog.DiscardHandler)

const patience = 30 * time.Second

// TestErrorsAreTheFrameworks: what the client exports is what package raftpico exports.
func TestErrorsAreTheFrameworks(t *testing.T) {
	for _, c := range []struct{ ours, theirs error }{
		{client.ErrInvalidParams, raftpico.ErrInvalidParams},
		{client.ErrClusterExists, raftpico.ErrClusterExists},
		{client.ErrServerExists, raftpico.ErrServerExists},
		{client.ErrNotMember, raftpico.ErrNotMember},
		{client.ErrInvalidInput, raftpico.ErrInvalidInput},
		{client.ErrInvalidOutput, raftpico.ErrInvalidOutput},
		{client.ErrNoOutput, raftpico.ErrNoOutput},
		{client.ErrRejected, raftpico.ErrRejected},
		{client.ErrUnknown, raftpico.ErrUnknown},
		{client.ErrNoLeader, raftpico.ErrNoLeader},
		{client.ErrUnreachable, raftpico.ErrUnreachable},
		{client.ErrBusy, raftpico.ErrBusy},
		{client.ErrSessionEnded, raftpico.ErrSessionEnded},
		{client.ErrLastServer, raftpico.ErrLastServer},
	} {
		require.ErrorIs(t, c.ours, c.theirs)
		require.ErrorIs(t, c.theirs, c.ours)
	}
}

func TestClientOfRealServers(t *testing.T) {
	cluster := startCounters(t, 3)
	c := client.NewWith(client.Options{Dial: cluster.Dialer("client:1")}, cluster.Servers[1].Addr())
	defer c.Close()
	ctx := within(t, patience)

	sum, err := client.Call[int](ctx, c, machine.Command, 5)
	require.NoError(t, err)
	require.Equal(t, 5, sum)
	for range 10 {
		sum, err = client.Call[int](ctx, c, machine.Query, 0)
		require.NoError(t, err)
		require.Equal(t, 5, sum)
	}
	err = c.Apply(ctx, machine.Command, -1, nil)
	var own *client.Error
	require.True(t, errors.As(err, &own))
	require.Equal(t, 1001, own.Code)
	require.ErrorIs(t, c.Apply(ctx, machine.Command, "text", nil), raftpico.ErrInvalidInput)
	require.ErrorIs(t, c.Apply(ctx, machine.Kind(9), 1, nil), raftpico.ErrInvalidParams)

	state, err := c.State(ctx, cluster.Servers[2].Addr(), false)
	require.NoError(t, err)
	require.Equal(t, cluster.Servers[2].Addr(), state.Addr)
	index, err := c.TakeSnapshot(ctx)
	require.NoError(t, err)
	require.NotZero(t, index)
	_, err = c.CreateCluster(ctx, client.Timeouts{})
	require.ErrorIs(t, err, raftpico.ErrClusterExists)
	_, err = c.AddServer(ctx, cluster.Servers[2].Addr())
	require.ErrorIs(t, err, raftpico.ErrServerExists)
	members, err := c.RemoveServer(ctx, cluster.Servers[2].Addr())
	require.NoError(t, err)
	require.Len(t, members, 2)
	for range 10 { // also if the one asked is the one removed
		sum, err = client.Call[int](ctx, c, machine.Command, 1)
		require.NoError(t, err)
	}
	require.Equal(t, 15, sum)
}

// TestCallsGoOnWhenTheLeaderIsGone: Queries never fail, and Commands that failed with a promise were not applied.
func TestCallsGoOnWhenTheLeaderIsGone(t *testing.T) {
	cluster := startCounters(t, 3)
	c := client.NewWith(client.Options{Dial: cluster.Dialer("client:1")}, cluster.Servers[0].Addr())
	defer c.Close()
	ctx := within(t, patience)
	sum, err := client.Call[int](ctx, c, machine.Command, 1)
	require.NoError(t, err)
	require.Equal(t, 1, sum)
	require.NoError(t, cluster.Leader().Close())
	sum, err = client.Call[int](ctx, c, machine.Query, 0)
	require.NoError(t, err)
	require.Equal(t, 1, sum)
	sum, err = client.Call[int](ctx, c, machine.Command, 1)
	require.NoError(t, err)
	require.Equal(t, 2, sum)
}

// TestEachCommandCountsOnce, on real servers, whose leaders are cut off one after the other, so that answers are lost and
// leaders change with commands on their way.
func TestEachCommandCountsOnce(t *testing.T) {
	cluster := startCounters(t, 3)
	c := client.NewWith(client.Options{Dial: cluster.Dialer("client:1"), Silence: 300 * time.Millisecond},
		cluster.Servers[0].Addr(), cluster.Servers[1].Addr(), cluster.Servers[2].Addr())
	defer c.Close()
	ctx := within(t, 2*patience)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var sent atomic.Int64
	for range 20 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.Apply(ctx, machine.Command, 1, nil); err != nil {
					t.Error(err)
					return
				}
				sent.Add(1)
			}
		})
	}
	for range 4 {
		before := sent.Load()
		cluster.Isolate(cluster.Leader().Addr())
		require.Eventually(t, func() bool { return sent.Load() > before+100 }, patience, time.Millisecond)
		cluster.Heal()
		cluster.Leader()
	}
	close(stop)
	all.Wait()
	sum, err := client.Call[int](ctx, c, machine.Query, 0)
	require.NoError(t, err)
	require.Equal(t, int(sent.Load()), sum)
}

// TestMachinesOwnErrorsAreFound as in process: as the machine's type, with its data, and as the wire's.
func TestMachinesOwnErrorsAreFound(t *testing.T) {
	cluster := startCounters(t, 1)
	c := client.NewWith(client.Options{Dial: cluster.Dialer("client:1")}, cluster.Servers[0].Addr())
	defer func() { require.NoError(t, c.Close()) }()
	ctx := within(t, patience)
	session, err := c.OpenSession(ctx, 0)
	require.NoError(t, err)
	for _, a := range []client.Applier{c, session} {
		err := a.Apply(ctx, machine.Command, -5, nil)
		own, found := errors.AsType[*machine.Error](err)
		require.True(t, found)
		require.Equal(t, 1001, own.Code)
		require.Equal(t, "no way back", own.Message)
		require.ErrorIs(t, err, &client.Error{Code: 1001})
		data, ok := client.ErrorData[refusal](err)
		require.True(t, ok)
		require.Equal(t, refusal{-5}, data)
		_, ok = client.ErrorData[int](err)
		require.False(t, ok)
	}
	err = c.Apply(ctx, machine.Command, "x", nil)
	require.ErrorIs(t, err, client.ErrInvalidInput)
	_, found := errors.AsType[*machine.Error](err)
	require.False(t, found, "the framework's errors are not the machine's")
}

func TestContextEndsFirst(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{NoSessions: true}, f.addrs...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.Apply(ctx, machine.Command, 1, nil)
	require.ErrorIs(t, err, client.ErrRejected)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, f.requests("Apply"))

	// afterAsked makes the call, and ends its context when the server has been asked so often.
	afterAsked := func(f *fakes, n int, c *client.Client) error {
		before := len(f.requests("Apply"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for len(f.requests("Apply")) < before+n {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		return c.Apply(ctx, machine.Command, 1, nil)
	}
	f.trouble = func(a ask) trouble { return trouble{silent: a.method == "Apply"} }
	err = afterAsked(f, 1, c)
	require.ErrorIs(t, err, client.ErrUnknown)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, f.requests("Apply"), 1)

	for _, kind := range []machine.Kind{machine.Query, machine.LocalQuery} {
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err = c.Apply(ctx, kind, 1, nil)
		require.ErrorIs(t, err, client.ErrRejected, "a read changes nothing")
		require.NotErrorIs(t, err, client.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}

	f = startFakes(t, 1)
	f.trouble = func(a ask) trouble {
		if a.method == "Apply" {
			return trouble{err: client.ErrNoLeader}
		}
		return trouble{}
	}
	c = f.dial(client.Options{NoSessions: true}, f.addrs...)
	for err = client.ErrUnknown; errors.Is(err, client.ErrUnknown); { // the answer to the last one may be on its way
		err = afterAsked(f, 3, c)
	}
	require.ErrorIs(t, err, client.ErrNoLeader)
	require.ErrorIs(t, err, context.Canceled)

	dialed := make(chan struct{}, 1000)
	c = f.dial(client.Options{NoSessions: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		dialed <- struct{}{}
		return nil, errors.New("no way there")
	}}, "nobody:1")
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		<-dialed
		<-dialed // so the first one has failed
		cancel()
	}()
	err = c.Apply(ctx, machine.Command, 1, nil)
	require.ErrorIs(t, err, client.ErrRejected)
	require.ErrorContains(t, err, "no way there")
}

// TestVotesAndLeadership: what the client asks of the leader finds it, whoever is asked first.
func TestVotesAndLeadership(t *testing.T) {
	cluster := startCounters(t, 3)
	c := client.NewWith(client.Options{Dial: cluster.Dialer("client:1")}, cluster.Servers[2].Addr())
	defer c.Close()
	ctx := within(t, patience)
	addrs := []string{cluster.Servers[0].Addr(), cluster.Servers[1].Addr(), cluster.Servers[2].Addr()}
	for _, to := range []string{addrs[1], addrs[1], addrs[0]} {
		require.NoError(t, c.TransferLeader(ctx, to))
		require.Eventually(t, func() bool { return cluster.Servers[2].Leader() == to }, patience, time.Millisecond)
	}
	require.ErrorIs(t, c.TransferLeader(ctx, "nobody:1"), raftpico.ErrInvalidParams)

	members, err := c.SetVoter(ctx, addrs[2], false)
	require.NoError(t, err)
	require.Equal(t, addrs, members)
	require.ErrorIs(t, c.TransferLeader(ctx, addrs[2]), raftpico.ErrInvalidParams)
	state, err := c.State(ctx, addrs[0], false)
	require.NoError(t, err)
	require.Equal(t, []any{"Learner", true}, []any{state.Members[2].Role, state.Members[2].Nonvoter})
	_, err = c.AddNonvoter(ctx, addrs[2])
	require.ErrorIs(t, err, raftpico.ErrServerExists)
	for range 10 { // also if it is the one asked
		_, err = client.Call[int](ctx, c, machine.Command, 1)
		require.NoError(t, err)
	}
	_, err = c.SetVoter(ctx, addrs[2], true)
	require.NoError(t, err)

	// A wrong address is told at once: it is no cluster that is still to be created.
	_, err = c.SetVoter(ctx, "nobody:1", false)
	require.Equal(t, client.ErrNotMember.Code, code(err), "%v", err)
	_, err = c.SetVoter(ctx, "nobody:1", true)
	require.Equal(t, client.ErrNotMember.Code, code(err), "%v", err)
	_, err = c.RemoveServer(ctx, "nobody:1")
	require.Equal(t, client.ErrNotMember.Code, code(err), "%v", err)
	require.NoError(t, ctx.Err())
}

// code is that of an error that a server has answered, 0 of others.
func code(err error) int {
	if e, ok := err.(*client.Error); ok {
		return e.Code
	}
	return 0
}
