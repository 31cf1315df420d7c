package client

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAckIsBelowTheLowestPending, whatever the order in which commands end.
func TestAckIsBelowTheLowestPending(t *testing.T) {
	s := newSession(7)
	pending, sizes := map[uint64]bool{}, map[uint64]int{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		if rng.IntN(100) < 55 && s.takes(0) {
			seq := s.begin(0)
			require.Equal(t, uint64(len(sizes)+len(pending)+1), seq)
			pending[seq] = true
		}
		for seq := range pending {
			if rng.IntN(2) == 0 {
				delete(pending, seq)
				sizes[seq] = rng.IntN(100)
				s.end(seq, sizes[seq])
			}
			break
		}
		lowest := s.next
		for seq := range pending {
			lowest = min(lowest, seq)
		}
		require.Equal(t, lowest-1, s.ack.Load())
		require.LessOrEqual(t, s.above(), uint64(windowSize))
		bytes := 0
		for seq := lowest; seq < s.next; seq++ {
			bytes += sizes[seq]
		}
		require.Equal(t, bytes, s.bytes)
	}
	require.Greater(t, s.ack.Load(), uint64(100))
}

// TestSessionBehindAnOldCommandTakesNothingNew, unless it has little to keep.
func TestSessionBehindAnOldCommandTakesNothingNew(t *testing.T) {
	s := newSession(7)
	first := s.begin(0)
	for s.above() < stuckSize-1 {
		s.end(s.begin(0), 1)
	}
	require.True(t, s.takes(stuckAge+1), "little")
	s.end(s.begin(0), 1)
	require.True(t, s.takes(stuckAge), "not old yet")
	require.False(t, s.takes(stuckAge+1))
	s.end(first, 1)
	require.True(t, s.takes(stuckAge+1))
	require.Equal(t, s.next-1, s.ack.Load())

	first = s.begin(0)
	s.end(s.begin(0), windowBytes)
	require.False(t, s.takes(0), "much to keep")
	s.end(first, 0)
	require.True(t, s.takes(0))
}
