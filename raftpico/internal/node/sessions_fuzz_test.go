package node

import (
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// FuzzSessions: whatever a snapshot says of sessions is refused, or it is kept as it is, and can be gone on with.
func FuzzSessions(f *testing.F) {
	for _, sessions := range []string{
		`[]`, `null`, `[{}]`, `{}`, `[null]`,
		`[{"id":5,"ttl":1000,"last":1700000000000},{"id":7,"ttl":3600000,"last":1700000000000,"acked":2,"outcomes":[{"seq":3,"at":{"index":8,"offset":0},"result":null},{"seq":4,"at":{"index":8,"offset":1}},{"seq":5,"at":{"index":9,"offset":0},"error":{"code":1001,"message":"m","data":{}}}]}]`,
		`[{"id":5,"ttl":1000,"last":1},{"id":5,"ttl":1000,"last":1}]`, `[{"id":5,"ttl":0,"last":1}]`, `[{"id":5,"ttl":-1,"last":1}]`, `[{"id":0,"ttl":1,"last":1}]`,
		`[{"id":18446744073709551615,"ttl":9223372036854775807,"last":9223372036854775807,"acked":18446744073709551615}]`, `[{"id":5,"ttl":9223372036854775807,"last":-9223372036854775808}]`,
		`[{"id":5,"ttl":1,"last":1,"outcomes":[{"seq":2,"at":{"index":1,"offset":0}},{"seq":1,"at":{"index":1,"offset":0}}]},{"id":6,"ttl":1,"last":1,"outcomes":[{"seq":1,"at":{"index":1,"offset":0}}]}]`,
		`[{"id":5,"ttl":1,"last":1,"outcomes":[{"seq":2,"at":{"index":1,"offset":-1}},{"seq":2,"at":{"index":2,"offset":0}}]}]`, `[{"id":5,"ttl":1,"last":1,"acked":3,"outcomes":[{"seq":2,"at":{"index":1,"offset":0}}]}]`,
		`[{"id":5,"ttl":1,"last":1,"outcomes":[{"seq":1,"at":null,"result":1,"error":{"code":103,"message":"\u0000\ud800","data":[1,{"user":2}]}}]}]`, `[{"id":5,"ttl":1,"last":1,"outcomes":[{"seq":1,"error":{}},{"seq":2,"error":null,"result":"x"}]}]`,
	} {
		f.Add(sessions, []byte("0123456789abcdefghij"))
	}
	f.Fuzz(func(t *testing.T, text string, steps []byte) {
		system, err := decodeSystem([]byte(`{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{},"sessions":` + text + `}`))
		if err != nil {
			return
		}
		s := system.sessions
		first := string(system.encode())
		require.True(t, json.Valid([]byte(first)), first)
		system, err = decodeSystem([]byte(first))
		require.NoError(t, err, first)
		require.Equal(t, first, string(system.encode()))
		require.Equal(t, s.bytes, system.sessions.bytes)
		now := int64(1_700_000_000_000)
		for i, step := range steps[:min(len(steps), 100)] {
			if len(s.by) == 0 {
				break
			}
			it := s.ends[int(step)%len(s.ends)]
			now += int64(step)
			switch o := it.find(it.acked + 1 + uint64(step)/8); {
			case step%8 == 0:
				for _, id := range s.ended(now, 3) {
					s.drop(s.by[id])
				}
			case step%8 == 1:
				s.forget(it, it.acked+uint64(step)/16)
			case o == nil && it.acked < 1<<62:
				s.touch(it, now)
				s.keep(&outcome{of: it, seq: it.acked + 1 + uint64(step)/8, ticket: machine.Ticket{Index: 1 << 40, Offset: i}})
				s.makeRoom()
			case o != nil && !o.done && s.deferred(o.ticket) == o:
				s.settle(o, json.RawMessage(`"x"`), nil)
			}
		}
		for _, it := range s.by {
			s.drop(it)
		}
		require.Zero(t, s.bytes)
		require.Empty(t, s.open)
		require.Empty(t, s.ends)
		require.Zero(t, s.all.Len()+s.full.Len()+s.waiting.Len())
	})
}
