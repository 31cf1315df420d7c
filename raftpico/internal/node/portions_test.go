package node_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// TestTurnTakesAPortion: whatever waits, of one's own callers or from other servers, a turn hands on about a mebibyte of each, and the
// next turn is due at once.
func TestTurnTakesAPortion(t *testing.T) {
	const each, count, portion = 100 << 10, 50, 1<<20 + 256<<10
	cores := startCores(t, 3)
	leader, follower := cores[0], cores[1]
	r := &node.Request{Op: node.Apply, Kind: machine.Command, Input: bytes.Repeat([]byte{'1'}, each)}
	for _, e := range cores[:2] {
		for i := range count {
			e.n.Request(i, r)
		}
	}
	due := func(e *free) bool { return e.n.Backlog() }
	waiting := func() (size int) {
		for _, line := range leader.inbox {
			size += len(line)
		}
		return size
	}
	for turns, before := 1, 0; turns < count*each/portion; turns++ {
		follower.turn(t)
		require.Less(t, waiting()-before, portion)
		require.True(t, due(follower))
		before = waiting()
	}
	for due(follower) {
		follower.turn(t)
	}
	for turns := 1; turns < count*each/portion; turns++ {
		before := leader.bytes
		leader.turn(t)
		require.Less(t, leader.bytes-before, 2*portion)
		require.True(t, due(leader))
	}
	for due(leader) {
		leader.turn(t)
	}
	settle(t, cores)
	require.Equal(t, count, leader.answered)
	require.Equal(t, count, follower.answered)
}

var small = &node.Request{Op: node.Apply, Kind: machine.Command, Input: []byte(`{"Put":["foo",123]}`)}

// TestThousandsThatEndAtOnceAreAnsweredByPortions: also, the next turn is due at once while some are left.
func TestThousandsThatEndAtOnceAreAnsweredByPortions(t *testing.T) {
	const count, portion = 20_000, 4096
	for _, c := range []struct {
		name string
		kind machine.Kind
		down bool // the link to the leader: nobody is asked
	}{{"unsent", machine.Command, true}, {"sent", machine.Command, false}, {"queries", machine.Query, true}} {
		t.Run(c.name, func(t *testing.T) {
			cores := startCores(t, 3, func(c *node.Config) { c.Deadline = 10 * time.Second })
			e := cores[1]
			if c.down {
				e.n.PeerDown(1)
			}
			r := *small
			r.Kind = c.kind
			for i := range count {
				e.n.Request(i, &r)
			}
			for e.turn(t); e.n.Backlog(); e.turn(t) {
			}
			e.n.SetTime(time.Hour, time.UnixMilli(1_700_000_000_000))
			for turns := 1; e.n.Pending() > 0; turns++ {
				before := e.answered
				at, ok := e.n.Wake()
				require.True(t, ok && at <= time.Hour)
				e.n.Tick()
				require.LessOrEqual(t, e.answered-before, portion)
				require.Less(t, turns, count/1000)
			}
			require.Equal(t, count, e.answered)
		})
	}
}

// TestThousandsThatWaitNoLongerAreLookedForOnce: each is answered, once, in the turn in which its caller went.
func TestThousandsThatWaitNoLongerAreLookedForOnce(t *testing.T) {
	const count = 50_000
	e := startCores(t, 3)[1]
	e.n.PeerDown(1)
	for i := range 2 * count {
		e.n.Request(i, small)
	}
	for i := range count {
		e.n.Request(2*i, &node.Request{Op: node.Cancel})
		e.n.Request(2*i, &node.Request{Op: node.Cancel})
	}
	e.n.Tick()
	require.Equal(t, count, e.answered)
	require.Equal(t, count, e.n.Pending())
}

// TestSlowMachineIsNotAskedForAllAtOnce: where the turn is late, it applies no more than an entry or a page, whatever is committed.
func TestSlowMachineIsNotAskedForAllAtOnce(t *testing.T) {
	const count = 10_000
	cores := startCores(t, 1, func(c *node.Config) { c.PageSize = 1 })
	e := cores[0]
	e.late = true
	for i := range count {
		e.n.Request(i, small)
	}
	for turns := 0; e.answered < count; turns++ {
		before := e.answered
		e.turn(t)
		require.LessOrEqual(t, e.answered-before, 1024)
		require.Equal(t, e.answered < count, e.n.Pending() > 0)
		require.Less(t, turns, 2*count/1024)
	}
}
