package node_test

import (
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// askers are n cores whose first leads and asks few, for ten milliseconds, two queries of it, and its turn, at a time since now.
func askers(t *testing.T, n int) (cores []*free, query func(), at func(time.Duration)) {
	cores = startCores(t, n, func(c *node.Config) { c.HoldReads, c.HeartbeatTicks = time.Millisecond, 3 })
	settle(t, cores)
	lead, began := cores[0].n, cores[0].n.Elapsed()
	query = func() {
		for range 2 {
			lead.Request("caller", &node.Request{Op: node.Apply, Kind: machine.Query, Input: json.RawMessage(`1`)})
		}
	}
	at = func(d time.Duration) {
		lead.SetTime(began+d, time.UnixMilli(1_700_000_000_000))
		lead.Tick()
		require.NoError(t, lead.Flush())
	}
	query() // the first question after a tick goes to all
	at(0)
	require.Equal(t, n-1, len(waiting(cores)))
	settle(t, cores)
	require.Equal(t, 2, cores[0].answered)
	return cores, query, at
}

// waiting tells for whom something waits: their places among the cores.
func waiting(cores []*free) (some []int) {
	for i, e := range cores {
		if len(e.inbox) > 0 {
			some = append(some, i)
		}
	}
	return some
}

// TestNoMoreAreAskedThanAreNeeded: the answers of some make a majority with the leader.
func TestNoMoreAreAskedThanAreNeeded(t *testing.T) {
	for n, need := range map[int]int{3: 1, 4: 2, 5: 2, 7: 3} {
		cores, query, at := askers(t, n)
		for i := range 3 {
			query()
			at(time.Millisecond)
			require.Len(t, waiting(cores), need, "of %d", n)
			settle(t, cores)
			require.Equal(t, 2*(i+2), cores[0].answered)
		}
		at(20 * time.Millisecond)
		require.Empty(t, waiting(cores), "it is answered: the others need not be asked any more")
		query()
		at(time.Second)
		require.Len(t, waiting(cores), n-1, "a tick asks all")
	}
}

// TestForOneQueryAllAreAsked: the first answer is the sooner one.
func TestForOneQueryAllAreAsked(t *testing.T) {
	cores, _, at := askers(t, 3)
	cores[0].n.Request("caller", &node.Request{Op: node.Apply, Kind: machine.Query, Input: json.RawMessage(`1`)})
	at(time.Millisecond)
	require.Equal(t, []int{1, 2}, waiting(cores))
}

// TestTheRestIsAskedWithATick: who was asked alone does not answer, and nobody brings about a turn.
func TestTheRestIsAskedWithATick(t *testing.T) {
	cores, query, at := askers(t, 3)
	query()
	at(time.Millisecond)
	require.Len(t, waiting(cores), 1)
	wake, ok := cores[0].n.Wake()
	require.True(t, ok)
	require.LessOrEqual(t, wake-cores[0].n.Elapsed(), 100*time.Millisecond)
	at(time.Millisecond + wake - cores[0].n.Elapsed())
	require.Len(t, waiting(cores), 2)
}

// TestTheQuickestIsAsked: it is who answered first when all were asked.
func TestTheQuickestIsAsked(t *testing.T) {
	cores, query, at := askers(t, 3)
	for i, quick := range []int{2, 1, 2} {
		query()
		at(time.Duration(i+1) * time.Second)
		require.Equal(t, []int{1, 2}, waiting(cores))
		cores[quick].turn(t)
		cores[0].turn(t)
		settle(t, cores)
		query()
		at(time.Duration(i+1)*time.Second + time.Millisecond)
		require.Equal(t, []int{quick}, waiting(cores))
		settle(t, cores)
	}
}

// TestTheRestIsAskedInTheEnd: who was asked alone does not answer. Whoever answers then is asked next.
func TestTheRestIsAskedInTheEnd(t *testing.T) {
	cores, query, at := askers(t, 3)
	lead := cores[0]
	query()
	at(time.Millisecond)
	asked := waiting(cores)
	require.Len(t, asked, 1)
	other := 3 - asked[0]
	query() // the next round does not wait longer
	at(6 * time.Millisecond)
	require.Len(t, waiting(cores), 1)
	at(11 * time.Millisecond)
	require.Len(t, waiting(cores), 2)
	cores[other].turn(t)
	lead.turn(t)
	require.Equal(t, 6, lead.answered)
	query()
	at(12 * time.Millisecond)
	cores[asked[0]].inbox = nil
	require.Equal(t, []int{other}, waiting(cores))
}

// TestTheRestIsAskedWhenOneIsGone: nobody waits for a server that is known to be gone.
func TestTheRestIsAskedWhenOneIsGone(t *testing.T) {
	cores, query, at := askers(t, 3)
	query()
	at(time.Millisecond)
	asked := waiting(cores)[0]
	cores[asked].inbox = nil
	cores[0].n.PeerDown(uint64(asked + 1))
	at(time.Millisecond)
	require.Equal(t, []int{3 - asked}, waiting(cores))
	settle(t, cores)
	require.Equal(t, 4, cores[0].answered)
	query()
	at(2 * time.Millisecond)
	require.Equal(t, []int{3 - asked}, waiting(cores))
}

// TestWhoSavesIsNotAskedAlone: who is at the disk answers late. If all are, the first who is through with it will do.
func TestWhoSavesIsNotAskedAlone(t *testing.T) {
	cores, query, at := askers(t, 3)
	for _, quick := range []int{2, 1} {
		cores[0].n.Request("caller", &node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(`1`)})
		at(time.Millisecond)
		for range 3 {
			cores[quick].turn(t)
			cores[0].turn(t)
		}
		saving := cores[3-quick]
		waits := len(saving.inbox)
		require.NotZero(t, waits)
		query()
		at(time.Millisecond)
		require.Len(t, cores[quick].inbox, 1)
		require.Len(t, saving.inbox, waits)
		settle(t, cores)
	}
	cores[0].n.Request("caller", &node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(`1`)})
	query()
	at(time.Millisecond)
	require.Len(t, cores[1].inbox, 2)
	require.Len(t, cores[2].inbox, 2)
}
