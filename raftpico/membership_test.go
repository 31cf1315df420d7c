package raftpico_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// TestGrowAndShrinkUnderLoad takes a cluster from one server to five and back to one, which is not the first, while
// clients add to a counter through servers that stay. What they were promised is in the sum, and nothing twice.
func TestGrowAndShrinkUnderLoad(t *testing.T) {
	t.Parallel()
	servers := make([]*raftpico.Server, 5)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.Limits.CompactAfter = 256 << 10 })
	}
	_, err := servers[0].CreateCluster(t.Context(), fast)
	require.NoError(t, err)

	var entry atomic.Pointer[raftpico.Server] // where the clients ask
	entry.Store(servers[0])
	var stop atomic.Bool
	var acknowledged, unknown, refused atomic.Int64
	const clients = 8
	done := make(chan error, clients)
	for range clients {
		go func() { // ends after stop
			for !stop.Load() {
				switch _, err := entry.Load().Apply(t.Context(), machine.Command, 1); {
				case err == nil:
					acknowledged.Add(1)
				case errors.Is(err, raftpico.ErrUnknown):
					unknown.Add(1)
				case errors.Is(err, raftpico.ErrRejected), errors.Is(err, raftpico.ErrNoLeader), errors.Is(err, raftpico.ErrNotMember):
					refused.Add(1)
				default:
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	progress := func() {
		before := acknowledged.Load()
		waitFor(t, func() bool { return acknowledged.Load() > before+100 })
	}
	progress()
	for _, s := range servers[1:] {
		add(t, servers[0], s)
		progress()
	}
	for _, s := range servers {
		waitFor(t, func() bool { return voters(t, s) == 5 })
	}
	last := servers[4]
	entry.Store(last)
	for _, s := range servers[:4] { // the leader first
		progress()
		waitFor(t, func() bool { // a removal may be refused while leadership changes hands
			_, err := last.RemoveServer(t.Context(), s.Addr())
			return err == nil || errors.Is(err, raftpico.ErrNotMember)
		})
		waitFor(t, func() bool {
			_, err := s.Apply(t.Context(), machine.Command, 0)
			return errors.Is(err, raftpico.ErrNotMember)
		})
	}
	progress()
	stop.Store(true)
	for range clients {
		require.NoError(t, <-done)
	}
	state, err := last.State(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, state.Members, 1)
	require.Equal(t, "Leader", state.Role)
	_, err = last.RemoveServer(t.Context(), last.Addr())
	require.ErrorIs(t, err, raftpico.ErrLastServer)
	out, err := last.Apply(t.Context(), machine.Query, 0)
	require.NoError(t, err)
	sum := int64(decodeInt(t, out))
	t.Logf("%d acknowledged, %d unknown, %d refused, the sum is %d", acknowledged.Load(), unknown.Load(), refused.Load(), sum)
	require.GreaterOrEqual(t, sum, acknowledged.Load(), "acknowledged writes are lost")
	require.LessOrEqual(t, sum, acknowledged.Load()+unknown.Load(), "refused writes were applied")
}
