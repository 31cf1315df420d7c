package raftpico_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

const lockForLong = `{"Lock":{"Name":"a","For":1000000000}}`

// A lock is not given to who has gone: neither to one whose context was cancelled or has ended, nor to one whose server
// was closed, at whichever server.
func TestWhoHasGoneGetsNoLock(t *testing.T) {
	t.Parallel()
	servers := startStill(t, 3, newLocks)
	leader, followers := servers[0], servers[1:]
	first := ask(t, leader, machine.Command, lockForLong)
	waiting := func(want int) {
		t.Helper()
		require.Eventually(t, func() bool {
			n := 0
			for _, s := range append(followers, leader) {
				if state, err := s.State(t.Context(), false); err == nil {
					n += state.Waiting
				}
			}
			return n == want
		}, time.Minute, time.Millisecond)
	}
	ended := make(chan error, 100)
	wait := func(ctx context.Context, s *raftpico.Server) {
		go func() {
			_, err := s.Apply(ctx, machine.Command, json.RawMessage(lockForLong))
			ended <- err
		}()
	}
	for i, s := range []*raftpico.Server{leader, followers[0], followers[1]} {
		ctx, cancel := context.WithCancel(ample(t))
		wait(ctx, s)
		waiting(1)
		cancel()
		require.ErrorIs(t, <-ended, raftpico.ErrUnknown, "server %d", i)
		waiting(0)
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		wait(ctx, s)
		require.Error(t, <-ended, "server %d", i)
		cancel()
		waiting(0) // or the next one seems to wait before it does
	}
	wait(ample(t), followers[1])
	waiting(1)
	require.NoError(t, followers[1].Close())
	require.ErrorIs(t, <-ended, raftpico.ErrUnknown)

	next, last := make(chan string, 1), followers[0]
	go func() {
		out, err := last.Apply(ample(t), machine.Command, json.RawMessage(lockForLong))
		next <- fmt.Sprint(string(out), err)
	}()
	followers = followers[:1]
	waiting(1)
	require.Equal(t, "true", ask(t, leader, machine.Command, fmt.Sprintf(`{"Unlock":{"Name":"a","Handle":%s}}`, first)))
	got := <-next
	require.NotEqual(t, "0", got)
	require.Equal(t, got, ask(t, leader, machine.Query, `{"Watch":{"Name":"a","Not":0}}`)+"<nil>")
}

// A lock is not given to one whose connection has ended.
func TestWhoseConnectionHasEndedGetsNoLock(t *testing.T) {
	t.Parallel()
	s := startServer(t, newLocks(), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	lock := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":%s,"timeout_ms":300000},"id":%d}`+"\n", lockForLong, id)
	}
	waiting := func(want int) {
		t.Helper()
		require.Eventually(t, func() bool {
			state, err := s.State(t.Context(), false)
			require.NoError(t, err)
			return state.Waiting == want
		}, time.Minute, time.Millisecond)
	}
	holder := dial(t, s)
	require.Equal(t, `{"jsonrpc":"2.0","id":1,"result":1}`, holder.ask(lock(1)))
	for _, reset := range []bool{true, false} { // without, it looks like a client that only stops sending
		gone := dial(t, s)
		gone.send(lock(2))
		gone.send(lock(3))
		waiting(2)
		if reset {
			require.NoError(t, gone.Conn.(*net.TCPConn).SetLinger(0))
		}
		require.NoError(t, gone.Close())
		waiting(0)
	}
	next := dial(t, s)
	next.send(lock(4))
	waiting(1)
	require.Contains(t, holder.ask(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Unlock":{"Name":"a","Handle":1}}},"id":5}`+"\n"), `"result":true`)
	require.Equal(t, `{"jsonrpc":"2.0","id":4,"result":2}`, next.line())
	// Whoever has got the lock has it, also when its connection ends.
	require.NoError(t, next.Conn.(*net.TCPConn).SetLinger(0))
	require.NoError(t, next.Close())
	time.Sleep(400 * time.Millisecond)
	require.Equal(t, "2", ask(t, s, machine.Query, `{"Watch":{"Name":"a","Not":0}}`))
}
