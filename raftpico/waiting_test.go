package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

func ask(t *testing.T, s *raftpico.Server, kind machine.Kind, input string) string {
	t.Helper()
	out, err := s.Apply(t.Context(), kind, json.RawMessage(input))
	require.NoError(t, err, input)
	return string(out)
}

// A lock is waited for in turn at any server, and is free again when its time is over, though nobody asks for anything.
func TestLocksAreWaitedForAndExpire(t *testing.T) {
	t.Parallel()
	c := memnet.Start(t, 3, newLocks)
	servers := c.Servers
	first := ask(t, servers[0], machine.Command, `{"Lock":{"Name":"a","For":300}}`)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var order []uint64
	for i := range 30 {
		wg.Go(func() {
			out := ask(t, servers[i%3], machine.Command, `{"Lock":{"Name":"a","For":1}}`)
			handle, err := strconv.ParseUint(out, 10, 64)
			require.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, handle)
		})
	}
	wg.Wait()
	require.Len(t, order, 30)
	require.NotContains(t, order, first)
	seen := map[uint64]bool{}
	for _, h := range order {
		require.False(t, seen[h])
		seen[h] = true
	}
	// When nothing is held, nothing is written any more.
	require.Eventually(t, func() bool { return ask(t, servers[1], machine.Query, `{"Watch":{"Name":"a","Not":1}}`) == "0" }, 5*time.Second, time.Millisecond)
	commit := func() uint64 {
		s, err := servers[0].State(t.Context(), false)
		require.NoError(t, err)
		return s.CommitIndex
	}
	before := commit()
	time.Sleep(700 * time.Millisecond)
	require.Equal(t, before, commit())
}

// A query that waits is answered by the change, at each server, or at its deadline.
func TestWatchersAreWoken(t *testing.T) {
	t.Parallel()
	c := memnet.Start(t, 3, newLocks)
	var wg sync.WaitGroup
	for i := range 300 {
		kind := machine.Query
		if i%2 == 0 {
			kind = machine.LocalQuery
		}
		wg.Go(func() {
			require.NotEqual(t, "0", ask(t, c.Servers[i%3], kind, `{"Watch":{"Name":"a","Not":0}}`))
		})
	}
	require.Eventually(t, func() bool {
		waiting := 0
		for _, s := range c.Servers {
			state, err := s.State(t.Context(), false)
			require.NoError(t, err)
			waiting += state.Waiting
		}
		return waiting == 300
	}, 10*time.Second, 10*time.Millisecond)
	ask(t, c.Servers[1], machine.Command, `{"Lock":{"Name":"a","For":100000}}`)
	wg.Wait()

	for _, kind := range []machine.Kind{machine.Query, machine.LocalQuery} {
		require.Eventually(t, func() bool { // on a machine that is late, the context may end first
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			out, err := c.Servers[2].Apply(ctx, kind, json.RawMessage(`{"Watch":{"Name":"b","Not":0}}`))
			require.True(t, err != nil || string(out) == "0")
			return err == nil
		}, 10*time.Second, time.Millisecond)
	}
}

// What is sent again in its session is not carried out again, on whichever server, also after a failover.
func TestOnceInASession(t *testing.T) {
	t.Parallel()
	c := memnet.Start(t, 3, newLocks)
	s := c.Servers
	id, err := s[0].OpenSession(t.Context(), 0)
	require.NoError(t, err)
	add := func(s *raftpico.Server, seq, ack uint64) string {
		t.Helper()
		for {
			out, err := s.ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: seq, Ack: ack}, json.RawMessage(`{"Add":1}`))
			if err == nil {
				return string(out)
			}
			require.True(t, errors.Is(err, raftpico.ErrRejected) || errors.Is(err, raftpico.ErrNoLeader) || errors.Is(err, raftpico.ErrUnknown), err)
		}
	}
	require.Equal(t, "1", add(s[0], 1, 0))
	require.Equal(t, "1", add(s[1], 1, 0))
	require.Equal(t, "2", add(s[2], 2, 0))
	require.Equal(t, "1", add(s[2], 1, 0))
	old := c.Leader()
	c.Isolate(old.Addr())
	require.Equal(t, "2", add(c.Leader(), 2, 0))
	require.Equal(t, "3", add(c.Leader(), 3, 2))
	c.Heal()
	require.Equal(t, "3", add(old, 3, 2))
	_, err = old.ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: 2}, json.RawMessage(`{"Add":1}`))
	require.ErrorIs(t, err, raftpico.ErrSessionEnded)

	// A lock that is waited for twice is one lock. A session that ends gives its locks back.
	var wg sync.WaitGroup
	handles := make([]string, 4)
	for i := range handles {
		wg.Go(func() {
			out, err := s[i%3].ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: 4, Ack: 3}, json.RawMessage(`{"Lock":{"Name":"a","For":60000}}`))
			require.NoError(t, err)
			handles[i] = string(out)
		})
	}
	wg.Wait()
	require.Equal(t, []string{handles[0], handles[0], handles[0], handles[0]}, handles)
	require.Equal(t, handles[0], ask(t, s[1], machine.Query, `{"Watch":{"Name":"a","Not":0}}`))
	require.NoError(t, s[0].CloseSession(t.Context(), id))
	require.Equal(t, "0", ask(t, s[1], machine.Query, fmt.Sprintf(`{"Watch":{"Name":"a","Not":%s}}`, handles[0])))
	require.ErrorIs(t, s[0].KeepSession(t.Context(), id), raftpico.ErrSessionEnded)

	short, err := s[0].OpenSession(t.Context(), time.Second)
	require.NoError(t, err)
	require.NoError(t, s[1].KeepSession(t.Context(), short))
	require.Eventually(t, func() bool {
		state, err := s[2].State(t.Context(), false)
		require.NoError(t, err)
		return state.Sessions == 0
	}, 10*time.Second, 10*time.Millisecond)
}
