package node

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// What a snapshot holds of the sessions is all of it: a server that has it goes on as the others do, and forgets the same
// outcomes. A result of null is a result.
func TestSessionsSurviveASnapshot(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a := newSessions()
	copied := func() *sessions {
		sys := newSystem(DefaultTimeouts)
		sys.sessions = a
		b, err := decodeSystem(sys.encode())
		require.NoError(t, err)
		return b.sessions
	}
	text := func(s *sessions) string {
		return string(s.append(nil, false))
	}
	b := copied()
	results := []json.RawMessage{null, json.RawMessage(`"` + strings.Repeat("x", 300<<10) + `"`), json.RawMessage(`{}`)}
	now := int64(1000)
	var ids []uint64
	for i := range 3000 {
		if i%97 == 0 {
			b = copied()
		}
		now += int64(rng.IntN(50))
		index, pick, kind, result := uint64(i+1), rng.Uint64(), rng.IntN(10), results[rng.IntN(len(results))]
		for _, s := range []*sessions{a, b} {
			if len(s.by) < 5 {
				s.add(&session{id: index, ttl: 20000, last: now})
				continue
			}
			ids = ids[:0]
			for e := s.all.Front(); e != nil; e = e.Next() {
				ids = append(ids, e.Value.(*session).id)
			}
			it := s.by[ids[pick%uint64(len(ids))]]
			seq := it.acked + 1 + pick>>32%20
			switch o := it.find(seq); {
			case kind == 0:
				s.drop(it)
			case kind == 1:
				s.forget(it, seq)
			case kind == 2:
				for _, id := range s.ended(now, 2) {
					s.drop(s.by[id])
				}
			case o != nil && !o.done:
				require.Same(t, o, s.deferred(o.ticket))
				s.settle(o, result, nil)
			case o == nil:
				s.touch(it, now)
				o := &outcome{of: it, seq: seq, ticket: machine.Ticket{Index: index}}
				switch kind {
				case 3, 4:
				case 5:
					o.set(nil, jsonrpc.ErrInternal.Because("why"))
				default:
					o.set(result, nil)
				}
				s.keep(o)
				s.makeRoom()
			}
			require.LessOrEqual(t, s.bytes, maxOutcomeBytes)
		}
		if i%30 == 0 {
			require.Equal(t, text(a), text(b), fmt.Sprint("step ", i))
		}
		require.Equal(t, a.bytes, b.bytes)
		require.Equal(t, len(a.open), len(b.open))
	}
	for _, it := range a.by {
		a.drop(it)
	}
	require.Zero(t, a.bytes)
	require.Empty(t, a.open)
	require.Empty(t, a.ends)
	require.Zero(t, a.all.Len()+a.full.Len())
}

// Deferred commands that nobody answers take half of the room, at most: whose session was used longest ago loses them, and not
// those whose outcomes are known.
func TestDeferredOutcomesLeaveRoom(t *testing.T) {
	s := newSessions()
	index := uint64(0)
	keep := func(id, seq uint64, done bool) {
		it := s.by[id]
		if it == nil {
			it = &session{id: id, ttl: 1000}
			s.add(it)
		}
		index++
		s.touch(it, int64(index))
		o := &outcome{of: it, seq: seq, ticket: machine.Ticket{Index: index}}
		if done {
			o.set(null, nil)
		}
		s.keep(o)
		s.makeRoom()
	}
	keep(1, 1, true)
	keep(1, 2, false)
	keep(1, 3, true)
	keep(2, 1, true)
	for id := uint64(10); len(s.by) < 2*maxOpen/maxOutcomes; id++ {
		for seq := range uint64(maxOutcomes) {
			keep(id, seq+1, false)
		}
		require.LessOrEqual(t, len(s.open), maxOpen)
		require.LessOrEqual(t, s.bytes, maxOutcomeBytes)
	}
	require.Greater(t, len(s.open), maxOpen-maxOutcomes-1)
	first, second, tenth := s.by[1], s.by[2], s.by[10]
	require.EqualValues(t, 2, first.acked, "up to the deferred one")
	require.NotNil(t, first.find(3))
	require.NotNil(t, second.find(1))
	require.EqualValues(t, maxOutcomes, tenth.acked)
	for _, it := range s.by {
		s.drop(it)
	}
	require.Zero(t, s.bytes)
	require.Empty(t, s.open)
	require.Zero(t, s.all.Len()+s.full.Len()+s.waiting.Len())
}
