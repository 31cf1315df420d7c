package node_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// TestMuchAtOnceIsSlowedDownAndNotRefused: of what a server is asked at once, as much as followers may have under way twice is
// logged, or handed to the leader. The rest follows when that is applied.
func TestMuchAtOnceIsSlowedDownAndNotRefused(t *testing.T) {
	for server, name := range []string{"leader", "follower"} {
		t.Run(name, func(t *testing.T) {
			cores := startCores(t, 3, func(c *node.Config) {
				c.MessageSize, c.Inflight, c.MaxUncommitted = messageSize, inflight, 20<<20
			})
			asked, leader := cores[server], cores[0]
			const count = 100
			input := append(append([]byte{'"'}, bytes.Repeat([]byte{'1'}, command)...), '"')
			for i := range count {
				asked.n.Request(i, &node.Request{Op: node.Apply, Kind: machine.Command, Input: input})
			}
			for range 20 { // the others hear nothing
				asked.turn(t)
			}
			if server == 0 {
				require.InDelta(t, 2*inflight, leader.bytes, 2<<20)
			} else {
				size, _ := leader.arrived()
				require.InDelta(t, 2*inflight, size, 2<<20)
			}
			require.Zero(t, asked.answered)
			for range 200 {
				settle(t, cores)
			}
			require.Equal(t, count, asked.answered)
			require.Zero(t, asked.refused)
		})
	}
}

func TestMemoryForALargeCommandIsGivenBack(t *testing.T) {
	cores := startCores(t, 3)
	input := append(append([]byte{'"'}, bytes.Repeat([]byte{'1'}, 8<<20)...), '"')
	cores[0].n.Request(1, &node.Request{Op: node.Apply, Kind: machine.Command, Input: input})
	for range 10 {
		settle(t, cores)
	}
	require.Equal(t, 1, cores[0].answered)
	require.LessOrEqual(t, cores[0].n.Scratch(), 4<<20)
}
