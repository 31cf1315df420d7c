package raftpico_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// counted is how often a method was answered by a code, 0 being a result.
func counted(m raftpico.Metrics, method string, code int) (n uint64) {
	for _, r := range m.Requests {
		if r.Method == method && r.Code == code {
			n += r.Count
		}
	}
	return n
}

func timed(m raftpico.Metrics, method string) *raftpico.Histogram {
	for i := range m.RequestTimes {
		if r := &m.RequestTimes[i]; r.Method == method {
			return &r.Time
		}
	}
	return new(raftpico.Histogram)
}

// Each request is counted once, by what it asks for and how it was answered, whichever way it came.
func TestMetricsCountEachRequest(t *testing.T) {
	t.Parallel()
	s, err := raftpico.Start(machine.JSON(&echo{}), raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(t.TempDir(), "log"), Logger: quiet})
	require.NoError(t, err)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = s.Apply(ctx, machine.Command, 1)
	require.ErrorIs(t, err, raftpico.ErrNotMember)
	_, err = s.CreateCluster(ctx, raftpico.Timeouts{})
	require.NoError(t, err)
	for range 3 {
		_, err = s.Apply(ctx, machine.Command, 1)
		require.NoError(t, err)
		_, err = s.Apply(ctx, machine.Query, 1)
		require.NoError(t, err)
		_, err = s.Apply(ctx, machine.LocalQuery, 1)
		require.NoError(t, err)
	}

	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer conn.Close()
	lines := []string{
		`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":1},"id":1}`,
		`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":1},"id":2}`,
		`[{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":1},"id":3},{"jsonrpc":"2.0","method":"Nothing","id":4}]`,
		`{"jsonrpc":"2.0","method":"AddServer","id":5}`,
		`{"jsonrpc":"2.0","method":"CreateCluster","id":6}`,
		`{"jsonrpc":"2.0"`,
		`{"jsonrpc":"2.0","id":7}`,
	}
	_, err = fmt.Fprintln(conn, strings.Join(lines, "\n"))
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	for range lines {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err := in.ReadString('\n')
		require.NoError(t, err)
	}
	m := s.Metrics()
	for want, n := range map[string]uint64{"Command 0": 4, "Command 102": 1, "Query 0": 4, "LocalQuery 0": 4, " -32601": 1, "AddServer -32602": 1,
		"CreateCluster 0": 1, "CreateCluster 100": 1, " -32700": 1, " -32600": 1} {
		method, code, _ := strings.Cut(want, " ")
		var c int
		require.NoError(t, json.Unmarshal([]byte(code), &c))
		require.Equal(t, n, counted(m, method, c), "%s: %v", want, m.Requests)
	}
	require.Len(t, m.Requests, 10, "%v", m.Requests)
	require.EqualValues(t, 5, timed(m, "Command").Count())
	require.EqualValues(t, 4, timed(m, "Query").Count())
	require.Positive(t, timed(m, "LocalQuery").Count(), "those in process are seldom timed")
	require.Positive(t, timed(m, "Command").Sum)
	require.Less(t, timed(m, "Command").Sum, 20*time.Second)

	require.Equal(t, 1, m.Connections.Open)
	require.EqualValues(t, 1, m.Connections.Accepted)
	require.Equal(t, 128<<20, m.Connections.BudgetBytes)
	require.Zero(t, m.Pending)
	require.Positive(t, m.Turns.Count())
	require.GreaterOrEqual(t, m.Syncs.Count(), uint64(4))
	require.GreaterOrEqual(t, m.Applies.Count(), uint64(4))
	require.Positive(t, m.AppliedBytes)
	require.Equal(t, 300*time.Millisecond, m.ElectionTimeout)
	state, err := s.State(ctx, false)
	require.NoError(t, err)
	require.Equal(t, state.Log.Bytes, m.LogBytes)
	require.Equal(t, state.LastIndex, m.LastIndex)
	require.NoError(t, s.Close())
	require.Equal(t, m.LastIndex, s.Metrics().LastIndex, "the last figures stay")
}

func TestMetricsTellOfTheCluster(t *testing.T) {
	t.Parallel()
	var network memnet.Network
	servers := make([]*raftpico.Server, 3)
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&echo{}), func(o *raftpico.Options) {
			o.Addr, o.File, o.InMemory = fmt.Sprintf("server-%d:1", i), "", true
			listener, err := network.Listen(o.Addr)
			require.NoError(t, err)
			o.Listener, o.Dial = listener, network.Dialer(o.Addr)
		})
	}
	joinAll(t, servers, still)
	leader, cut := servers[0], servers[1]
	for range 20 {
		_, err := leader.Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
	}
	_, err := leader.TakeSnapshot(t.Context())
	require.NoError(t, err)
	var m raftpico.Metrics
	require.Eventually(t, func() bool {
		m = leader.Metrics()
		for _, member := range m.Members {
			if member.Lag == nil || *member.Lag > 0 || member.QueueBytes > 0 {
				return false
			}
		}
		return m.SnapshotsMade >= 2 // one more where a joiner needed a newer one
	}, time.Minute, 5*time.Millisecond, "%v", &m)
	require.Equal(t, "Leader", m.Role)
	require.True(t, m.Ready)
	require.Positive(t, m.LeaderChanges)
	require.EqualValues(t, m.SnapshotsMade, m.Snapshots.Count(), "the first for those that joined")
	require.GreaterOrEqual(t, m.SnapshotsSent, uint64(2), "each of the others has learnt the state")
	require.Len(t, m.Members, 3)
	for _, member := range m.Members {
		require.Equal(t, member.Addr == leader.Addr(), member.Self)
		require.Equal(t, !member.Self, member.Linked)
		if member.Linked {
			require.Positive(t, member.SentMessages)
			require.Greater(t, member.SentBytes, 50*member.SentMessages)
		}
	}
	m.Members[0].Addr, m.Requests[0].Count = "", 0
	again := leader.Metrics()
	require.NotEmpty(t, again.Members[0].Addr, "what is returned belongs to the caller")

	require.Positive(t, cut.Metrics().SnapshotsInstalled)
	require.Nil(t, cut.Metrics().Members[0].Lag, "only the leader knows it")
	network.Isolate(cut.Addr())
	require.Eventually(t, func() bool { return cut.Metrics().Leader == "" && !cut.Metrics().Ready }, time.Minute, 5*time.Millisecond)
	applies(t, leader, 1)
	require.Eventually(t, func() bool {
		for _, member := range leader.Metrics().Members {
			if member.Addr == cut.Addr() {
				return !member.Linked && member.Lag != nil && *member.Lag > 0
			}
		}
		return false
	}, time.Minute, 5*time.Millisecond)
}
