package loop_test

import (
	"bufio"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
)

// TestMetricsAreThereWhileTheServerIsBusy: a disk that hangs holds up no figures. A machine that is at work for long does, and
// then they are old and say so.
func TestMetricsAreThereWhileTheServerIsBusy(t *testing.T) {
	disk := newFrozen()
	l, conn := start(t, func(c *loop.Config) {
		c.Machine, c.FS, c.File = machine.JSON(&tally{}), disk, filepath.Join(t.TempDir(), "log")
	})
	c := &client{t, conn, bufio.NewReader(conn)}
	t.Cleanup(func() { _ = disk.ice.TryLock(); disk.ice.Unlock() })
	c.send(apply("Command", "first"))
	c.receive(1)
	disk.ice.Lock()
	c.send(apply("Command", "inside"))
	require.Eventually(t, func() bool { return l.AtDisk() && l.Metrics().Pending == 1 }, 20*time.Second, time.Millisecond)
	require.Zero(t, l.Metrics().Age)
	disk.ice.Unlock()
	c.receive(1)

	release := l.HoldMachine()
	require.Eventually(t, func() bool { return l.Metrics().Age > 0 }, 20*time.Second, time.Millisecond)
	old := l.Metrics()
	require.Greater(t, old.Age, time.Duration(0))
	require.Positive(t, old.Uptime)
	release()
	require.Eventually(t, func() bool { return l.Metrics().Age == 0 }, 20*time.Second, time.Millisecond)
	now := l.Metrics()
	require.Contains(t, now.Requests, api.RequestCount{Method: "Command", Count: 2})
	require.GreaterOrEqual(t, now.Syncs.Count(), uint64(2))
}

// TestEachErrorIsCountedUnderItsCode: what servers answer comes back as the code that it was counted under.
func TestEachErrorIsCountedUnderItsCode(t *testing.T) {
	codes := map[int]int{1000: 1000, 123456: 1000, -1: jsonrpc.ErrInternal.Code}
	for code := 100; code < 132; code++ {
		codes[code] = code
	}
	for _, e := range []*jsonrpc.Error{jsonrpc.ErrParse, jsonrpc.ErrInvalidRequest, jsonrpc.ErrMethodNotFound, jsonrpc.ErrInvalidParams, jsonrpc.ErrInternal} {
		codes[e.Code] = e.Code
	}
	for code, want := range codes {
		require.Equal(t, []api.RequestCount{{Method: "AddServer", Code: want, Count: 1}}, loop.Counted(node.AddServer, &jsonrpc.Error{Code: code}))
	}
	require.Equal(t, []api.RequestCount{{Method: "AddServer", Count: 1}}, loop.Counted(node.AddServer, nil))
}
