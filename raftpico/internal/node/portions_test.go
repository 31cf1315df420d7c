package node_test

import (
	"bytes"
	"testing"

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
