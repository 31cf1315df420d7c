package raftpico_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// TestBegunRequestsAreLinearizable: callers in process, of which some wait and some begin many before they wait, at all servers.
// What a query tells was acknowledged before it began, or more.
func TestBegunRequestsAreLinearizable(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	var acked atomic.Int64 // the highest value that anybody has seen
	see := func(out []byte, err error, least int64) {
		if err != nil {
			t.Error(err)
			return
		}
		value, err := strconv.ParseInt(string(out), 10, 64)
		if err != nil || value < least {
			t.Errorf("%s, %v after %d was seen", out, err, least)
		}
		for seen := acked.Load(); value > seen && !acked.CompareAndSwap(seen, value); seen = acked.Load() {
		}
	}
	over := time.Now().Add(500 * time.Millisecond)
	var callers sync.WaitGroup
	for i := range 18 {
		s := servers[i%3]
		callers.Go(func() {
			for n := 0; time.Now().Before(over); n++ {
				kind, input := machine.Query, 0
				if i < 6 && n%3 == 0 {
					kind, input = machine.Command, 1
				}
				if i%2 == 0 {
					least := acked.Load()
					out, err := s.Apply(t.Context(), kind, input)
					see(out, err, least)
					continue
				}
				var begun [7]raftpico.Pending
				var least [7]int64
				for j := range begun {
					least[j] = acked.Load()
					begun[j] = s.Begin(context.Background(), kind, input)
				}
				for j := range begun {
					out, err := begun[j].Wait()
					see(out, err, least[j])
				}
			}
		})
	}
	callers.Wait()
	require.Positive(t, acked.Load())
}

// TestBegunCommandsAreAppliedInOrder: of one caller, at the leader.
func TestBegunCommandsAreAppliedInOrder(t *testing.T) {
	t.Parallel()
	s := leaderOf(t, startCluster(t, 3))
	var begun []raftpico.Pending
	for range 100 {
		begun = append(begun, s.Begin(t.Context(), machine.Command, 1))
	}
	for i := range begun {
		sum, err := raftpico.Output[int](begun[i].Wait())
		require.NoError(t, err)
		require.Equal(t, i+1, sum)
	}
}

func TestBegunRequestsFail(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	s := leaderOf(t, servers)
	wait := func(p raftpico.Pending) error {
		_, err := p.Wait()
		return err
	}
	require.ErrorIs(t, wait(s.Begin(t.Context(), machine.Command, func() {})), raftpico.ErrUnencodable)
	err := wait(s.Begin(t.Context(), 0, 1))
	require.ErrorIs(t, err, raftpico.ErrInvalidParams)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err = wait(s.Begin(ended, machine.Command, 1))
	require.ErrorIs(t, err, raftpico.ErrRejected)
	require.ErrorIs(t, err, context.Canceled)

	for _, other := range servers {
		if other != s {
			require.NoError(t, other.Close())
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	command, query := s.Begin(ctx, machine.Command, 1), s.Begin(ctx, machine.Query, 1)
	stop()
	require.ErrorIs(t, wait(command), context.Canceled)
	require.ErrorIs(t, wait(query), context.Canceled)
	require.NoError(t, s.Close())
	require.Error(t, wait(s.Begin(t.Context(), machine.Query, 1)))
}
