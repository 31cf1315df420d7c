package raftpico_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// A follower that knows no leader holds a command back. Its caller's deadline ends that, with a certain answer, and frees its place.
func TestCallersDeadlineIsTheRequests(t *testing.T) {
	servers := startCluster(t, 3)
	require.NoError(t, servers[0].Close())
	require.NoError(t, servers[1].Close())
	alone := servers[2]
	require.Eventually(t, func() bool {
		state, err := alone.State(t.Context(), false)
		require.NoError(t, err)
		return state.Leader == ""
	}, 20*time.Second, 10*time.Millisecond)
	for _, kind := range []machine.Kind{machine.Command, machine.Query} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := alone.Apply(ctx, kind, 1)
		cancel()
		require.ErrorIs(t, err, raftpico.ErrNoLeader)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	state, err := alone.State(t.Context(), false)
	require.NoError(t, err)
	require.Zero(t, state.Pending)

	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := alone.Apply(ctx, machine.Command, 1)
		answered <- err
	}()
	require.Eventually(t, func() bool {
		state, err := alone.State(t.Context(), false)
		require.NoError(t, err)
		return state.Pending == 1
	}, 20*time.Second, time.Millisecond)
	cancel()
	err = <-answered
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		state, err := alone.State(t.Context(), false)
		require.NoError(t, err)
		return state.Pending == 0
	}, 20*time.Second, time.Millisecond)
}
