package raftpico_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// A follower that knows no leader holds a command back. Its caller's deadline ends that, with a certain answer, and frees its place.
func TestCallersDeadlineIsTheRequests(t *testing.T) {
	t.Parallel()
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
		waitFor(t, func() bool { // where the server is late by more than it answers early, the context ends first
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := alone.Apply(ctx, kind, 1)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return errors.Is(err, raftpico.ErrNoLeader)
		})
	}
	require.Eventually(t, func() bool {
		state, err := alone.State(t.Context(), false)
		require.NoError(t, err)
		return state.Pending == 0
	}, 20*time.Second, time.Millisecond)

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
	require.ErrorIs(t, <-answered, context.Canceled)
	require.Eventually(t, func() bool {
		state, err := alone.State(t.Context(), false)
		require.NoError(t, err)
		return state.Pending == 0
	}, 20*time.Second, time.Millisecond)
}

// hanging hangs in a Command until it is released.
type hanging struct {
	puts
	entered, release chan struct{}
}

func (s hanging) Apply(ctx *machine.Context, _ json.RawMessage) (any, error) {
	if ctx.Kind == machine.Command {
		s.entered <- struct{}{}
		<-s.release
	}
	return nil, nil
}

// TestReadThatIsGivenUpIsNoUnknown: it changes nothing, even if the server is too busy to say so.
func TestReadThatIsGivenUpIsNoUnknown(t *testing.T) {
	t.Parallel()
	m := hanging{entered: make(chan struct{}, 1), release: make(chan struct{})}
	release := sync.OnceFunc(func() { close(m.release) })
	defer release()
	s := startServer(t, m, func(o *raftpico.Options) { o.File, o.InMemory = "", true })
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	applied := make(chan error, 1)
	go func() {
		_, err := s.Apply(t.Context(), machine.Command, 1)
		applied <- err
	}()
	<-m.entered
	for kind, want := range map[machine.Kind]error{machine.Query: raftpico.ErrRejected, machine.Command: raftpico.ErrUnknown} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := s.Apply(ctx, kind, 1)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, err, context.Canceled)
	}
	release()
	require.NoError(t, <-applied)
}
