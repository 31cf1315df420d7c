package raftpico_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// hasUptime tells whether a clock is known here that counts the time of a suspension too.
const hasUptime = runtime.GOOS == "linux"

// leased is how many servers have a lease, and who is the last one.
func leased(t *testing.T, servers []*raftpico.Server) (holders int, holder *raftpico.Server) {
	for _, s := range servers {
		if st, err := s.State(t.Context(), false); err == nil && st.Leased {
			holders, holder = holders+1, s
		}
	}
	return holders, holder
}

// Under a lease each server answers queries that see what was acknowledged before, in process and over the network, also
// after the leader has gone.
func TestQueriesUnderALease(t *testing.T) {
	t.Parallel()
	if !hasUptime {
		t.Skip("no clock that counts the time of a suspension is known here")
	}
	servers := startCluster(t, 3)
	waitFor(t, func() bool { // all members must have told that they know of it
		err := servers[2].Configure(t.Context(), raftpico.Configuration{LeaseReads: true})
		if err != nil {
			require.ErrorIs(t, err, raftpico.ErrBusy)
		}
		return err == nil
	})
	waitFor(t, func() bool { n, s := leased(t, servers); return n == 1 && s == servers[0] })
	clients := map[*raftpico.Server]*jsonrpc.Client{}
	for _, s := range servers {
		c, err := jsonrpc.Dial(t.Context(), s.Addr())
		require.NoError(t, err)
		defer c.Close()
		clients[s] = c
	}
	sum := 0
	agree := func(servers []*raftpico.Server) {
		for i := range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			out, err := servers[i%len(servers)].Apply(ctx, machine.Command, 1)
			require.NoError(t, err)
			sum++
			require.Equal(t, sum, decodeInt(t, out))
			for _, s := range servers {
				out, err := s.Apply(ctx, machine.Query, 0)
				require.NoError(t, err)
				require.Equal(t, sum, decodeInt(t, out))
				var value int
				require.NoError(t, clients[s].Call(ctx, "Apply", map[string]any{"kind": "Query", "input": 0}, &value))
				require.Equal(t, sum, value)
			}
			cancel()
		}
	}
	agree(servers)
	require.NoError(t, servers[0].Close())
	waitFor(t, func() bool { n, _ := leased(t, servers[1:]); return n == 1 })
	agree(servers[1:])

	require.NoError(t, servers[1].Configure(t.Context(), raftpico.Configuration{}))
	waitFor(t, func() bool { n, _ := leased(t, servers[1:]); return n == 0 })
	agree(servers[1:])
}

// Servers that create their cluster together can have leases from the start.
func TestBootstrapWithLeases(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) {
		o.Addr, o.Listener = l.Addr().String(), l
		o.Join, o.Bootstrap, o.LeaseReads = []string{o.Addr}, 1, true
	})
	require.NoError(t, s.Ready(t.Context()))
	st, err := s.State(t.Context(), false)
	require.NoError(t, err)
	require.True(t, st.LeaseReads)
	require.Equal(t, hasUptime, st.Leased)
	require.Equal(t, 2, st.ActiveLevel, "an older release can't take part")
	for i := range 3 {
		_, err = s.Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
		out, err := s.Apply(t.Context(), machine.Query, 0)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i+1), string(out))
	}
}
