package loop

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/node"
)

// TestWhatIsPutBackComesFirst: requests that the watch has picked and leaves to the turn after all go before those that came
// later. One connection's commands keep their order.
func TestWhatIsPutBackComesFirst(t *testing.T) {
	var b inbox
	for _, addr := range []string{"first", "second", "third"} {
		b.put(nil, Request{Request: node.Request{Addr: addr}})
	}
	picked := b.pick(func(r *Request) bool { return r.Addr != "third" })
	require.Len(t, picked, 2)
	b.back(picked[1:])
	_, left := b.take(nil, nil)
	require.Len(t, left, 2)
	require.Equal(t, "second", left[0].Addr)
}
