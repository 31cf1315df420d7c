package node_test

import (
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// gatherCores are three cores whose first leads and holds rounds for a second, its turn, how many messages wait for the second
// one, and a query of it.
func gatherCores(t *testing.T) (cores []*free, at func(time.Duration), asked func() int, query func(near bool)) {
	cores = startCores(t, 3, func(c *node.Config) { c.HoldReads = time.Second })
	lead, began := cores[0].n, cores[0].n.Elapsed()
	at = func(d time.Duration) {
		lead.SetTime(began+d, time.UnixMilli(1_700_000_000_000))
		require.NoError(t, lead.Flush())
	}
	asked = func() int { return len(cores[1].inbox) }
	query = func(near bool) {
		lead.Request("caller", &node.Request{Op: node.Apply, Kind: machine.Query, Near: near, Input: json.RawMessage(`{"Get":"foo"}`)})
	}
	return cores, at, asked, query
}

// TestRoundsWaitForEachOther: queries that come while a round is under way go with the next one, which begins when the first has
// ended, or takes long.
func TestRoundsWaitForEachOther(t *testing.T) {
	cores, at, asked, query := gatherCores(t)
	query(false)
	at(0)
	require.Equal(t, 1, asked())
	query(false)
	query(false)
	at(time.Millisecond)
	require.Equal(t, 1, asked(), "the second round waits for the first")
	wake, ok := cores[0].n.Wake()
	require.True(t, ok)
	require.LessOrEqual(t, wake-cores[0].n.Elapsed(), time.Second)

	settle(t, cores)
	require.Equal(t, 3, cores[0].answered, "it begins when that has ended")

	query(false)
	at(2 * time.Millisecond)
	query(false)
	at(1002 * time.Millisecond)
	require.Equal(t, 2, asked(), "or has taken long")
	settle(t, cores)
	require.Equal(t, 5, cores[0].answered)
}

// TestRoundsWaitForCallers: a round waits for callers in process that were just answered, until they had time to come.
func TestRoundsWaitForCallers(t *testing.T) {
	cores, at, asked, query := gatherCores(t)
	lead := cores[0].n
	require.False(t, lead.Gathering())
	query(true)
	at(0)
	query(false) // waits for the first, whose caller will be answered
	settle(t, cores)
	require.Equal(t, 1, cores[0].answered)
	require.True(t, lead.Gathering())
	require.Zero(t, asked())
	query(true)
	lead.Gathered()
	require.False(t, lead.Gathering())
	settle(t, cores)
	require.Equal(t, 3, cores[0].answered)

	query(false) // nobody tells that they had time
	at(time.Millisecond)
	require.Zero(t, asked())
	require.True(t, lead.Gathering())
	wake, ok := lead.Wake()
	require.True(t, ok)
	require.Positive(t, wake-lead.Elapsed())
	require.LessOrEqual(t, wake-lead.Elapsed(), time.Second)
	at(1000 * time.Millisecond)
	require.Equal(t, 1, asked())
	settle(t, cores)
	require.Equal(t, 4, cores[0].answered)
	require.False(t, lead.Gathering())
}
