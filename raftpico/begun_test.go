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
				var begun [7]*raftpico.Pending
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
