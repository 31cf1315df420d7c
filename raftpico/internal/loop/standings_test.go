package loop_test

import (
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// TestTurnsThatChangeNoStandingPostNone: commands come and go, and nobody who watches is woken.
func TestTurnsThatChangeNoStandingPostNone(t *testing.T) {
	l, _ := start(t, nil)
	ready := func(now *node.Standing, _ bool) bool { return !now.Ready }
	require.NoError(t, l.Watch(t.Context(), ready))
	before, _ := l.Standing()
	for range 100 {
		_, err := l.Call(t.Context(), node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage("1")})
		require.NoError(t, err)
	}
	after, _ := l.Standing()
	require.Same(t, before, after)
}
