package loop_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"

	"github.com/raftpico/go/raftpico/internal/loop"
)

// TestSaveBesideTheTurn: while a slow disk is at commands, others come, queries see what was answered, and snapshots are
// taken.
func TestSaveBesideTheTurn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	begin := func(c *loop.Config) {
		c.Machine, c.FS, c.File, c.CompactAfter = machine.JSON(&tally{}), newSlow(func() error { return nil }), name, 4<<10
	}
	l, _ := start(t, begin)
	call := func(kind machine.Kind) (count int, err error) {
		result, err := l.Call(t.Context(), node.Request{Op: node.Apply, Kind: kind, Input: json.RawMessage("1")})
		if err != nil {
			return 0, err
		}
		return count, json.Unmarshal(result, &count)
	}
	const callers, times = 8, 20
	var all sync.WaitGroup
	failures := make(chan error, callers)
	for range callers {
		all.Go(func() {
			for range times {
				done, err := call(machine.Command)
				var seen int
				if err == nil {
					seen, err = call(machine.Query)
				}
				if err == nil && seen < done {
					err = fmt.Errorf("%d seen after %d was answered", seen, done)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	require.NoError(t, <-failures)
	require.Positive(t, l.Beside())
	count, err := call(machine.LocalQuery)
	require.NoError(t, err)
	require.Equal(t, callers*times, count)
}

// A save beside the turn that fails ends the server: nothing that waits for it is acknowledged, and nothing that was
// acknowledged before is lost.
func TestSaveBesideTheTurnThatFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	open := func(fs storage.FS) (l *loop.Loop, ended chan error) {
		l, err := loop.Open(loop.Config{Machine: machine.JSON(&tally{}), FS: fs, File: name, Dial: new(net.Dialer).DialContext,
			Logger: slog.New(slog.DiscardHandler), Deadline: 10 * time.Second, MaxPending: 1000, MaxUncommitted: 1 << 20, CompactAfter: 1 << 20, MaxQueue: 1 << 20})
		require.NoError(t, err)
		require.NoError(t, l.Begin("127.0.0.1:1"))
		ended = make(chan error, 1)
		go func() { ended <- l.Run() }()
		return l, ended
	}
	command := node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage("1")}
	var broken atomic.Bool
	l, ended := open(newSlow(func() error {
		if broken.Load() {
			return errors.New("a broken disk")
		}
		return nil
	}))
	_, err := l.Call(t.Context(), node.Request{Op: node.CreateCluster, Timeouts: node.DefaultTimeouts})
	require.NoError(t, err)
	var acknowledged, refused atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				if _, err := l.Call(t.Context(), command); err != nil {
					refused.Add(1)
					return
				}
				if acknowledged.Add(1) == 100 {
					broken.Store(true)
				}
			}
		})
	}
	require.ErrorContains(t, <-ended, "a broken disk")
	callers.Wait()
	require.EqualValues(t, 8, refused.Load())
	require.Positive(t, l.Beside())
	require.NoError(t, l.Close())

	l, ended = open(storage.OS)
	var count int64
	require.Eventually(t, func() bool {
		result, err := l.Call(t.Context(), node.Request{Op: node.Apply, Kind: machine.Query, Input: json.RawMessage("1")})
		return err == nil && json.Unmarshal(result, &count) == nil
	}, time.Minute, time.Millisecond)
	require.GreaterOrEqual(t, count, acknowledged.Load())
	l.Drain(time.Second)
	require.NoError(t, <-ended)
	require.NoError(t, l.Close())
}
