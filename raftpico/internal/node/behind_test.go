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
	cores := startCores(t, 1, func(c *node.Config) { c.CompactAfter, c.Trailing = compactAfter, compactAfter })
	cores[0].snapshots = true
	for i := range 2 * compactAfter / command {
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
	for _, c := range []struct {
		name  string
		state int
		most  uint64
	}{
		{"small state", 100, compactAfter + trailing},
		{"large state", 2 << 20, compactAfter + 2<<20},
		{"a little larger than CompactAfter", 6 << 20, 6<<20 + 3<<20},
		{"larger than CompactAfter", 12 << 20, 12<<20 + 6<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			leader, slow, load := startSlow(t, c.state)
			for range 30 {
				load(int(c.most) / command / 4)
				require.LessOrEqual(t, leader.n.LogBytes(), c.most+8*command) // a snapshot takes a turn
			}
			slow.turn(t)
			require.NotEmpty(t, leader.inbox, "it acknowledges what has come")
			answer(t, leader, slow)
			for range 20 { // nor does a snapshot that is on its way for ever
				load(int(c.most) / command / 4)
				require.LessOrEqual(t, leader.n.LogBytes(), uint64(2*max(compactAfter, c.state))+8*command)
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

// TestSnapshotsCostNoMoreThanTheLog: whatever the size of the state, no more bytes of snapshots are written than of log.
func TestSnapshotsCostNoMoreThanTheLog(t *testing.T) {
	for _, state := range []int{100, 2 << 20, 12 << 20} {
		cores := startCores(t, 1, func(c *node.Config) { c.Machine, c.CompactAfter, c.Trailing = blob{size: state}, compactAfter, 0 })
		leader := cores[0]
		leader.snapshots = true
		r := &node.Request{Op: node.Apply, Kind: machine.Command, Input: bytes.Repeat([]byte{'1'}, command)}
		snapshots, last := -1, uint64(0) // the first one comes when there is no size of another yet
		for i := range 600 {
			leader.n.Request(i, r)
			settle(t, cores)
			if s := leader.n.State().Snapshot; s.Index != last {
				last, snapshots = s.Index, snapshots+1
			}
		}
		require.Positive(t, snapshots, "state of %d bytes", state)
		require.LessOrEqual(t, (snapshots-1)*state, 600*command, "state of %d bytes", state)
	}
}
