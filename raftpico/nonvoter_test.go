package raftpico_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// memberOf is the member at an address, as a server sees it.
func memberOf(t *testing.T, s *raftpico.Server, addr string) (m raftpico.MemberState) {
	t.Helper()
	state, err := s.State(t.Context(), false)
	require.NoError(t, err)
	for _, one := range state.Members {
		if one.Addr == addr {
			m = one
		}
	}
	return m
}

// A read replica serves all kinds of requests, and is ready. The voters do without it, and it does not without them.
func TestReadReplicaServesAndNeverCounts(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 2)
	replica := startServer(t, machine.JSON(&counter{}), nil)
	_, err := servers[1].AddNonvoter(t.Context(), replica.Addr())
	require.NoError(t, err)
	ready, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, replica.Ready(ready))
	for want := 1; want <= 3; want++ {
		out, err := replica.Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
		require.Equal(t, want, decodeInt(t, out))
		for _, kind := range []machine.Kind{machine.Query, machine.LocalQuery} {
			out, err = replica.Apply(t.Context(), kind, 0)
			require.NoError(t, err)
			require.Equal(t, want, decodeInt(t, out))
		}
	}
	require.Equal(t, "Learner", replica.Status().Role)
	m := memberOf(t, servers[0], replica.Addr())
	require.True(t, m.Nonvoter && m.Role == "Learner", "%+v", m)

	require.NoError(t, replica.Close())
	out, err := servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	require.Equal(t, 4, decodeInt(t, out))
}

// Without the voters it knows no leader, and is not ready.
func TestReadReplicaThatIsCutOffSaysSo(t *testing.T) {
	t.Parallel()
	servers := []*raftpico.Server{startServer(t, machine.JSON(&counter{}), nil)}
	joinAll(t, servers, fast) // a leader that is gone is soon missed
	replica := startServer(t, machine.JSON(&counter{}), nil)
	_, err := servers[0].AddNonvoter(t.Context(), replica.Addr())
	require.NoError(t, err)
	waitFor(t, func() bool { return replica.Status().Ready })
	require.NoError(t, servers[0].Close())
	waitFor(t, func() bool { s := replica.Status(); return !s.Ready && s.Leader == "" })
	_, err = replica.Apply(t.Context(), machine.LocalQuery, 0)
	require.NoError(t, err)
	waitFor(t, func() bool { // where the machine is late, the context ends before the server has said so
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := replica.Apply(ctx, machine.Query, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return errors.Is(err, raftpico.ErrNoLeader)
	})
}

// SetVoter takes votes and gives them back, of the leader too, and what was demoted may be stopped at once.
func TestDemotedServerMayBeStopped(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 4)
	for i, s := range servers[:2] { // the leader first
		waitFor(t, func() bool { // it may be refused while leadership changes hands
			members, err := servers[3].SetVoter(t.Context(), s.Addr(), false)
			return err == nil && len(members) == 4
		})
		require.NoError(t, s.Close())
		out, err := servers[2].Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
		require.Equal(t, i+1, decodeInt(t, out))
	}
	m := memberOf(t, servers[3], servers[0].Addr())
	require.True(t, m.Nonvoter && m.Role == "Learner", "%+v", m)
	_, err := servers[3].SetVoter(t.Context(), servers[2].Addr(), false)
	require.NoError(t, err)
	_, err = servers[3].SetVoter(t.Context(), servers[3].Addr(), false)
	require.ErrorIs(t, err, raftpico.ErrLastServer)
	_, err = servers[3].SetVoter(t.Context(), servers[2].Addr(), true)
	require.NoError(t, err)
	waitFor(t, func() bool { return memberOf(t, servers[3], servers[2].Addr()).Role == "Voter" })
	_, err = servers[3].SetVoter(t.Context(), "127.0.0.1:1", true)
	require.ErrorIs(t, err, raftpico.ErrNotMember)
	_, err = servers[3].SetVoter(t.Context(), "nowhere", true)
	require.ErrorIs(t, err, raftpico.ErrInvalidParams)
}

// A dead voter of four is removed, and one of the three that are left is not. The removal is counted.
func TestDeadServerIsRemoved(t *testing.T) {
	t.Parallel()
	const dead = 10 * time.Second // none that lives is silent for so long
	servers := make([]*raftpico.Server, 4)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.RemoveDead = dead })
	}
	joinAll(t, servers, calm)
	require.NoError(t, servers[3].Close())
	var state *raftpico.State
	waitFor(t, func() bool {
		var err error
		state, err = servers[0].State(t.Context(), false)
		return err == nil && len(state.Members) == 3
	})
	require.EqualValues(t, 1, state.RemovedDead)
	require.NoError(t, servers[2].Close())
	time.Sleep(dead + time.Second) // it can be seen only that nothing happens
	state, err := servers[0].State(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, state.Members, 3)
	waitFor(t, func() bool { _, err := servers[0].Apply(t.Context(), machine.Command, 1); return err == nil })

	_, err = raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, RemoveDead: -1})
	require.ErrorContains(t, err, "RemoveDead is -1ns")
}
