package node_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// blob is a machine whose state has a size, and never changes.
type blob struct {
	null
	size int
}

func (b blob) Snapshot() (json.RawMessage, error) {
	return append(append([]byte(`"`), bytes.Repeat([]byte{'x'}, b.size)...), '"'), nil
}

// Sizes, in bytes.
const (
	command      = 100 << 10
	compactAfter = 4 << 20
	trailing     = 1 << 20
	inflight     = 2 << 20
	messageSize  = 512 << 10
)

// TestEntriesBesideSnapshotTakeLittleMemory: they are written in lines of about a mebibyte.
func TestEntriesBesideSnapshotTakeLittleMemory(t *testing.T) {
	cores := startCores(t, 1, func(c *node.Config) {
		c.Machine, c.CompactAfter, c.Trailing = blob{size: compactAfter}, compactAfter, compactAfter
	})
	cores[0].snapshots = true
	for i := range 6 * compactAfter / command {
		cores[0].n.Request(i, &node.Request{Op: node.Apply, Kind: machine.Command, Input: bytes.Repeat([]byte{'1'}, command)})
		settle(t, cores)
	}
	require.Greater(t, cores[0].file.bytes, compactAfter-2*command)
	require.Greater(t, cores[0].file.lines, 1)
	require.Equal(t, cores[0].n.State().Snapshot, cores[0].file.prev)
}

// startSlow starts a cluster of three whose third server answers nothing, but the leader has not noticed yet.
func startSlow(t *testing.T, state int) (leader, slow *free, load func(commands int)) {
	cores := startCores(t, 3, func(c *node.Config) {
		c.Machine, c.CompactAfter, c.Trailing, c.MessageSize, c.Inflight = blob{size: state}, compactAfter, trailing, messageSize, inflight
	})
	for _, e := range cores {
		e.snapshots = true
	}
	leader, slow = cores[0], cores[2]
	r := &node.Request{Op: node.Apply, Kind: machine.Command, Input: bytes.Repeat([]byte{'1'}, command)}
	return leader, slow, func(commands int) {
		for i := range commands {
			leader.n.Request(i, r)
			settle(t, cores[:2])
		}
	}
}

// arrived is how much waits for a server, and whether a snapshot is there.
func (e *free) arrived() (size int, snapshot bool) {
	for _, line := range e.inbox {
		size += len(line)
		snapshot = snapshot || bytes.Contains(line[:min(100, len(line))], []byte(`"MsgSnap"`))
	}
	return size, snapshot
}

func TestSlowFollowerIsNotSentMoreThanItCanHold(t *testing.T) {
	_, slow, load := startSlow(t, 100)
	load(100)
	size, _ := slow.arrived()
	require.Greater(t, size, inflight/2)
	require.Less(t, size, inflight+2*messageSize)
}

// TestSlowFollowerHoldsNoLog: a follower that is behind, for as long as it likes, makes the leader's log no longer than what
// calls for a snapshot and what the follower would get as one instead. It gets that when it goes on.
func TestSlowFollowerHoldsNoLog(t *testing.T) {
	long := 30 // quarters of what it may be
	if testing.Short() {
		long = 12
	}
	for _, c := range []struct {
		name  string
		state int
		most  uint64
	}{
		{"small state", 100, compactAfter + trailing},
		{"large state", 2 << 20, 4*(2<<20+trailing) + 2<<20},
		{"larger than CompactAfter", 6 << 20, 4*compactAfter + 6<<20},
		{"a little larger than four times CompactAfter", 18 << 20, 18<<20 + trailing + 9<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			leader, slow, load := startSlow(t, c.state)
			for range long {
				load(int(c.most) / command / 4)
				require.LessOrEqual(t, leader.n.LogBytes(), c.most+8*command) // a snapshot takes a turn
			}
			slow.turn(t)
			require.NotEmpty(t, leader.inbox, "it acknowledges what has come")
			answer(t, leader, slow)
			for range 2 * long / 3 { // nor does a snapshot that is on its way for ever
				load(int(c.most) / command / 4)
				require.LessOrEqual(t, leader.n.LogBytes(), 2*max(compactAfter, c.most-min(uint64(c.state), c.most/3))+8*command)
			}
			slow.turn(t)
			leader.n.SnapshotDelivered(3)
			for range 100 {
				leader.turn(t)
				slow.turn(t)
			}
			require.Equal(t, leader.n.State().AppliedIndex, slow.n.State().AppliedIndex)
		})
	}
}

// answer lets a leader and a follower talk, until there is a snapshot.
func answer(t *testing.T, leader, slow *free) {
	for i := 0; ; i++ {
		require.Less(t, i, 1000)
		leader.turn(t)
		if _, snapshot := slow.arrived(); snapshot {
			return
		}
		leader.n.SetTime(time.Hour+time.Duration(i)*30*time.Millisecond, time.UnixMilli(1_700_000_000_000))
		leader.n.Tick()
		slow.turn(t)
	}
}

// TestSnapshotsCostNoMoreThanTheLog: whatever the size of the state, and however much is logged while a snapshot is written, no
// more bytes are written for snapshots than for the log, and a quarter of that where they cost little: of states, of the entries
// beside them, and of what is copied behind.
func TestSnapshotsCostNoMoreThanTheLog(t *testing.T) {
	for _, state := range []int{100, 2 << 20, 20 << 20} {
		for _, slowly := range []int{0, 100} { // turns, each of a command
			cores := startCores(t, 1, func(c *node.Config) {
				c.Machine, c.CompactAfter, c.Trailing = blob{size: state}, compactAfter, trailing
			})
			leader := cores[0]
			leader.snapshots, leader.slowly = true, slowly
			r := &node.Request{Op: node.Apply, Kind: machine.Command, Input: bytes.Repeat([]byte{'1'}, command)}
			var began, cost uint64 // in bytes: of the log when the last snapshot began, and what was written for it
			last, snapshots := leader.n.State().Snapshot, 0
			var under *node.SnapshotJob
			for i := range 1500 {
				leader.n.Request(i, r)
				settle(t, cores)
				if job := leader.job; job != nil && job != under {
					if under != nil && snapshots > 0 {
						share := uint64(1)
						if cost <= compactAfter-4*command {
							share = 4
						}
						require.LessOrEqual(t, share*cost, uint64(leader.bytes)-began+16*command, "state of %d bytes, %d turns", state, slowly)
					}
					under, began, leader.copied = job, uint64(leader.bytes), 0
				}
				if s := leader.n.State().Snapshot; s != last {
					last, snapshots = s, snapshots+1
					cost = uint64(state + leader.file.bytes + leader.copied)
				}
			}
			require.Greater(t, snapshots, 2, "state of %d bytes, %d turns", state, slowly)
		}
	}
}
