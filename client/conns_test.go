package client_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// TestSilentServersAreLeft: those who are cut off without a word, while a call waits there.
func TestSilentServersAreLeft(t *testing.T) {
	f := startFakes(t, 2)
	f.leader = ""
	c := f.dial(client.Options{Silence: 200 * time.Millisecond}, f.addrs...)
	ctx := within(t, patience)
	var all sync.WaitGroup
	for range 50 {
		require.NoError(t, c.Apply(ctx, machine.Command, 1, nil))
	}
	f.net.Cut("client:1", f.addrs[0])
	for range 50 {
		all.Go(func() {
			if err := c.Apply(ctx, machine.Command, 1, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, 100, f.value)
}

// TestLongWaitsAreNoSilence: a server that works answers pings.
func TestLongWaitsAreNoSilence(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{Silence: 3 * time.Second, NoSessions: true}, f.addrs...)
	done := make(chan error)
	go func() { done <- c.Apply(within(t, patience), machine.Command, "wait", nil) }()
	require.Eventually(t, func() bool { return len(f.requests("raftpico.Ping")) >= 3 }, patience, time.Millisecond)
	f.answerDeferred("1")
	require.NoError(t, <-done)
	require.Len(t, f.requests("Apply"), 1)
}

// answerDeferred answers all that wait.
func (f *fakes) answerDeferred(result string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, call := range f.deferred {
		conn := call.Conn()
		call.Result([]byte(result))
		conn.Flush()
	}
	f.deferred = nil
}

// TestManyWaitersTakeMoreConnections: calls that wait long take the room of others on their connection.
func TestManyWaitersTakeMoreConnections(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{NoSessions: true}, f.addrs...)
	ctx := within(t, patience)
	failed := make(chan error)
	began := 0
	wait := func(n int) (conns map[*jsonrpc.Conn]int) {
		for range n {
			go func() { failed <- c.Apply(ctx, machine.Command, "wait", nil) }()
		}
		began += n
		for {
			f.mu.Lock()
			if len(f.deferred) == began {
				break
			}
			f.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		defer f.mu.Unlock()
		conns = map[*jsonrpc.Conn]int{}
		for _, call := range f.deferred {
			conns[call.Conn()]++
		}
		return conns
	}
	require.Len(t, wait(4000), 1)
	for len(wait(1)) == 1 {
	}
	require.Len(t, wait(500), 2)
	f.answerDeferred("1")
	for range began {
		require.NoError(t, <-failed)
	}
}
