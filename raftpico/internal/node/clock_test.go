package node_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestVoteBeginsTheWaitAnew: a follower that votes for the server that leadership is handed to waits as long as after any
// vote. The ticks that were not made before, since they could change nothing, are void.
func TestVoteBeginsTheWaitAnew(t *testing.T) {
	w := cluster(t)
	b := w.server("b")
	w.now += 240 * time.Millisecond // eight ticks since b has heard of its leader
	require.NoError(t, w.inject(b, `{"type":"MsgVote","from":5,"to":3,"term":3,"log_term":2,"index":8,"context":"43616d706169676e5472616e73666572"}`))
	b.flush()
	require.EqualValues(t, 5, *b.node.State().VotedFor)
	at, _ := b.node.Wake()
	require.Equal(t, w.now+30*time.Millisecond, at)
}

// TestNewLeaderIsHeardAfterAPause: a follower that did nothing for a while, and finds the word of a new leader waiting, does not
// count that time against it.
func TestNewLeaderIsHeardAfterAPause(t *testing.T) {
	w := cluster(t)
	b := w.server("b")
	w.now += 10 * time.Second
	b.node.SetTime(w.now, w.wall.Add(w.now))
	require.NoError(t, w.inject(b, `{"type":"MsgHeartbeat","from":5,"to":3,"term":3,"commit":8}`))
	b.flush()
	w.now += 270 * time.Millisecond // nine ticks: fewer than any election timeout
	b.flush()
	require.Equal(t, "c:1", b.node.State().Leader)
	require.Equal(t, "Follower", b.node.State().Role)
}
