package node_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// TestServersMakeTheirSnapshotsAtDifferentTimes: after a common beginning, which TakeSnapshot is, no two are begun within a tenth of
// the log that calls for one.
func TestServersMakeTheirSnapshotsAtDifferentTimes(t *testing.T) {
	for _, servers := range []int{1, 3, 5} {
		cores := startCores(t, servers, func(c *node.Config) {
			c.Machine, c.CompactAfter, c.Trailing = blob{size: 20 * command}, compactAfter, 10*command
		})
		for _, e := range cores {
			e.snapshots, e.slowly = true, 20
		}
		cores[0].n.Request(0, &node.Request{Op: node.TakeSnapshot})
		r := &node.Request{Op: node.Apply, Kind: machine.Command, Input: bytes.Repeat([]byte{'1'}, command)}
		seen, count := make([]*node.SnapshotJob, servers), make([]int, servers)
		last := -1 << 20 // command, after which the last snapshot but the first was begun
		for i := range 2000 {
			cores[0].n.Request(i, r)
			settle(t, cores)
			for at, e := range cores {
				if e.job == nil || e.job == seen[at] {
					continue
				}
				if seen[at] = e.job; count[at] > 0 {
					require.Greater(t, i-last, compactAfter/command/10, "server %d of %d, snapshot %d", at+1, servers, count[at])
					last = i
				}
				count[at]++
			}
		}
		for at := range cores {
			require.Greater(t, count[at], 4, "server %d of %d", at+1, servers)
		}
	}
}
