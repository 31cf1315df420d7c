package raftpico_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// until returns the first status of s that holds.
func until(t *testing.T, s *raftpico.Server, holds func(raftpico.Status) bool) (found raftpico.Status) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for now := range s.Events(ctx) {
		if found = now; holds(now) {
			return now
		}
	}
	require.Fail(t, "no such status", "the last one: %+v", found)
	return found
}

// TestEventsTellWhereAServerStands goes through the life of a server, and finds each step of it in its status.
func TestEventsTellWhereAServerStands(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log.jsonl")
	a := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File = file })
	b := startServer(t, machine.JSON(&counter{}), nil)
	require.Equal(t, raftpico.Status{Role: "Follower"}, a.Status())
	require.Empty(t, a.Leader())

	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{}) // not fast: nobody else is to lead
	require.NoError(t, err)
	alone := until(t, a, raftpico.Status.Leads)
	require.NotEmpty(t, alone.ClusterID)
	require.NotZero(t, alone.Term)
	require.Equal(t, []raftpico.Member{{ID: alone.NodeID, Addr: a.Addr(), Role: "Voter"}}, alone.Members)
	require.Equal(t, a.Addr(), alone.Leader)
	require.Equal(t, alone.NodeID, alone.LeaderID)
	require.Equal(t, alone, a.Status())
	require.Equal(t, a.Addr(), a.Leader())

	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	two := until(t, a, func(now raftpico.Status) bool {
		return len(now.Members) == 2 && now.Members[1].Role == "Voter" && now.Members[1].Linked
	})
	require.Equal(t, b.Addr(), two.Members[1].Addr)
	follows := until(t, b, func(now raftpico.Status) bool { return now.Ready && now.Role == "Follower" })
	require.False(t, follows.Leads())
	require.Equal(t, two.Members[1].ID, follows.NodeID)
	require.Equal(t, a.Addr(), follows.Leader)

	index, err := a.TakeSnapshot(t.Context())
	require.NoError(t, err)
	until(t, a, func(now raftpico.Status) bool { return now.Snapshot.Index == index })

	require.NoError(t, a.TransferLeader(t.Context(), follows.NodeID))
	led := until(t, b, raftpico.Status.Leads)
	require.Greater(t, led.Term, alone.Term)
	until(t, a, func(now raftpico.Status) bool {
		return now.LeaderID == follows.NodeID && now.Term == led.Term && now.Ready
	})

	require.NoError(t, b.Close())
	last := until(t, b, func(now raftpico.Status) bool { return now.Ended })
	require.False(t, last.Ready)
	require.Empty(t, last.Leader)
	require.Equal(t, "Follower", last.Role)
	require.Equal(t, last, b.Status())
	until(t, a, func(now raftpico.Status) bool { return !now.Members[1].Linked && now.Leader == "" })

	// What is known at the start is what the file tells.
	require.NoError(t, a.Close())
	again := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File, o.Addr = file, a.Addr() })
	require.Equal(t, alone.NodeID, again.Status().NodeID)
	require.Len(t, again.Status().Members, 2)
}

// TestEventsEndWithTheirContext and yield nothing then: neither where it has ended before, nor while they wait.
func TestEventsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for range s.Events(ctx) {
		seen++
		cancel()
	}
	for range s.Events(ctx) {
		seen++
	}
	require.Equal(t, 1, seen)
}

// TestSlowWatcherMissesWhatIsOver: while its body is at work, the server goes on; then it sees the latest, and nothing
// between.
func TestSlowWatcherMissesWhatIsOver(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	var seen []uint64
	var last uint64
	for now := range s.Events(t.Context()) {
		seen = append(seen, now.Snapshot.Index)
		if len(seen) == 2 {
			break
		}
		for range 3 { // each is a status of its own
			last, err = s.TakeSnapshot(t.Context())
			require.NoError(t, err)
			until(t, s, func(now raftpico.Status) bool { return now.Snapshot.Index == last })
		}
	}
	require.Equal(t, last, seen[1])
}

// TestEveryWatcherSeesTheEnd has many of them, which come and go, while leadership goes back and forth.
func TestEveryWatcherSeesTheEnd(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 2)
	var ended atomic.Int64
	var watchers sync.WaitGroup
	for i := range 32 {
		s := servers[i%2]
		watchers.Go(func() {
			for range 10 {
				for now := range s.Events(t.Context()) {
					now.Members[0].Addr = "it is the receiver's"
					break
				}
			}
			var term uint64
			for now := range s.Events(t.Context()) {
				if now.Term < term {
					t.Errorf("term %d after %d", now.Term, term)
				}
				if term = now.Term; now.Ended {
					ended.Add(1)
				}
			}
		})
	}
	for range 4 {
		waitFor(t, func() bool {
			from, to := leaderOf(t, servers), servers[0]
			if to == from {
				to = servers[1]
			}
			return from.TransferLeader(t.Context(), to.Status().NodeID) == nil
		})
	}
	for _, s := range servers {
		require.NoError(t, s.Close())
	}
	watchers.Wait()
	require.EqualValues(t, 32, ended.Load())
}

// TestLeaderThatIsCutOffStopsLeading: it finds out itself, and by its higher term the next leader can be told from it.
func TestLeaderThatIsCutOffStopsLeading(t *testing.T) {
	t.Parallel()
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })
	old := c.Leader()
	led := until(t, old, raftpico.Status.Leads)
	c.Isolate(old.Addr())
	until(t, old, func(now raftpico.Status) bool { return now.Role != "Leader" && !now.Ready && now.Leader == "" })
	next := until(t, c.Leader(), raftpico.Status.Leads)
	require.Greater(t, next.Term, led.Term)
	c.Heal()
	until(t, old, func(now raftpico.Status) bool { return now.Ready && now.Leader == next.Leader })
}

// TestReadyServerHasCaughtUp: one that comes back knows what the others have committed without it.
func TestReadyServerHasCaughtUp(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	leader := leaderOf(t, servers)
	file := filepath.Join(t.TempDir(), "log.jsonl")
	start := func(addr string) *raftpico.Server {
		return startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File, o.Addr = file, addr })
	}
	s := start("127.0.0.1:0")
	_, err := leader.AddServer(t.Context(), s.Addr())
	require.NoError(t, err)
	for n := 1; n <= 5; n++ {
		require.NoError(t, s.Ready(t.Context()))
		require.NoError(t, s.Close())
		sum, err := leader.Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
		require.Equal(t, n, decodeInt(t, sum))
		s = start(s.Addr())
		require.NoError(t, s.Ready(t.Context()))
		sum, err = s.Apply(t.Context(), machine.LocalQuery, 0)
		require.NoError(t, err)
		require.Equal(t, n, decodeInt(t, sum))
	}
}

// TestReadyTellsWhyItIsNot: of its context, of a server that has ended, was removed, or has failed.
func TestReadyTellsWhyItIsNot(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Ready(over), context.Canceled)

	waits := make(chan error)
	go func() { waits <- s.Ready(t.Context()) }()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-waits, raftpico.ErrRejected)
	require.ErrorIs(t, s.Ready(t.Context()), raftpico.ErrRejected)

	two := startCluster(t, 2)
	_, err := two[0].RemoveServer(t.Context(), two[1].Addr())
	require.NoError(t, err)
	until(t, two[1], func(now raftpico.Status) bool { return now.Removed })
	require.ErrorIs(t, two[1].Ready(t.Context()), raftpico.ErrNotMember)

	b := startServer(t, machine.JSON(&bomb{}), nil)
	_, err = b.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	_, err = b.Apply(t.Context(), machine.Command, "now")
	require.Error(t, err)
	require.Error(t, b.Wait())
	err = b.Ready(t.Context())
	require.ErrorIs(t, err, raftpico.ErrRejected)
	require.ErrorContains(t, err, "panicked")
}
