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

// TestWhatIsTakenRingsNoMore: a turn that takes what somebody has rung for leaves no other turn to be done for it, and what
// comes afterwards rings again.
func TestWhatIsTakenRingsNoMore(t *testing.T) {
	b := inbox{wake: make(chan struct{}, 1)}
	b.post(func() {})
	b.put(nil, Request{})
	b.ringNear()
	items, requests := b.take(nil, nil)
	require.Len(t, items, 1)
	require.Len(t, requests, 1)
	require.Empty(t, b.wake)
	require.False(t, b.near.Load())

	b.post(func() {})
	require.Len(t, b.wake, 1)
}
