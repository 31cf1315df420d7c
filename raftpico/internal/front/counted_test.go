package front

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
)

// Requests are counted by the names of their methods.
func TestEachMethodIsCountedByItsName(t *testing.T) {
	for name, m := range methods {
		if m.op == node.Apply {
			name = "Command"
		}
		require.Equal(t, name, loop.MethodOf(&node.Request{Op: m.op}).String())
	}
}
