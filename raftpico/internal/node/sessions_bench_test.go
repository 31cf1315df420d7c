package node

import (
	"strings"
	"testing"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// What the loop waits for when a snapshot begins, with as many sessions and outcomes as there may be.
func BenchmarkEncodeSessions(b *testing.B) {
	sys := newSystem(DefaultTimeouts)
	result := json.RawMessage(`"` + strings.Repeat("x", 128) + `"`)
	for id := range uint64(maxSessions) {
		it := &session{id: id + 1, ttl: 3600_000, last: 1_800_000_000_000 + int64(id)}
		sys.sessions.add(it)
		if o := (&outcome{of: it, seq: 7, ticket: machine.Ticket{Index: id + 5}, done: true, result: result}); sys.sessions.bytes+o.size() <= maxOutcomeBytes {
			sys.sessions.keep(o)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(sys.encode())))
	}
}
