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

func ask(t *testing.T, s *raftpico.Server, kind machine.Kind, input string) (answer string) {
	t.Helper()
	settles(t, func() error {
		out, err := s.Apply(ample(t), kind, json.RawMessage(input))
		answer = string(out)
		return err
	})
	return answer
}

// A lock is waited for in turn at any server, and is free again when its time is over, though nobody asks for anything.
func TestLocksAreWaitedForAndExpire(t *testing.T) {
	t.Parallel()
	servers := startStill(t, 3, newLocks)
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
	require.Eventually(t, func() bool { return ask(t, servers[1], machine.Query, `{"Watch":{"Name":"a","Not":1}}`) == "0" }, time.Minute, time.Millisecond)
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
	servers := startStill(t, 3, newLocks)
	var wg sync.WaitGroup
	for i := range 300 {
		kind := machine.Query
		if i%2 == 0 {
			kind = machine.LocalQuery
		}
		wg.Go(func() {
			require.NotEqual(t, "0", ask(t, servers[i%3], kind, `{"Watch":{"Name":"a","Not":0}}`))
		})
	}
	require.Eventually(t, func() bool {
		waiting := 0
		for _, s := range servers {
			state, err := s.State(t.Context(), false)
			require.NoError(t, err)
			waiting += state.Waiting
		}
		return waiting == 300
	}, time.Minute, 10*time.Millisecond)
	ask(t, servers[1], machine.Command, `{"Lock":{"Name":"a","For":100000}}`)
	wg.Wait()

	for _, kind := range []machine.Kind{machine.Query, machine.LocalQuery} {
		require.Eventually(t, func() bool { // on a machine that is late, the context may end first
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			out, err := servers[2].Apply(ctx, kind, json.RawMessage(`{"Watch":{"Name":"b","Not":0}}`))
			require.True(t, err != nil || string(out) == "0")
			return err == nil
		}, time.Minute, time.Millisecond)
	}
}

// What is sent again in its session is not carried out again, on whichever server, also after a failover.
func TestOnceInASession(t *testing.T) {
	t.Parallel()
	c := memnet.Start(t, 3, newLocks)
	s := c.Servers
	open := func(timeout time.Duration) (id uint64) {
		settles(t, func() (err error) { id, err = s[0].OpenSession(t.Context(), timeout); return err })
		return id
	}
	id := open(0)
	once := func(s *raftpico.Server, seq, ack uint64, input string) (answer string, err error) {
		err = raftpico.ErrUnknown
		for errors.Is(err, raftpico.ErrUnknown) {
			err = decided(func() error {
				out, err := s.ApplyOnce(t.Context(), raftpico.Session{ID: id, Seq: seq, Ack: ack}, json.RawMessage(input))
				answer = string(out)
				return err
			})
		}
		return answer, err
	}
	add := func(s *raftpico.Server, seq, ack uint64) string {
		t.Helper()
		sum, err := once(s, seq, ack, `{"Add":1}`)
		require.NoError(t, err)
		return sum
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
	_, err := once(old, 2, 0, `{"Add":1}`)
	require.ErrorIs(t, err, raftpico.ErrSessionEnded)

	// A lock that is waited for twice is one lock. A session that ends gives its locks back.
	var wg sync.WaitGroup
	handles := make([]string, 4)
	for i := range handles {
		wg.Go(func() {
			handle, err := once(s[i%3], 4, 3, `{"Lock":{"Name":"a","For":60000}}`)
			require.NoError(t, err)
			handles[i] = handle
		})
	}
	wg.Wait()
	require.Equal(t, []string{handles[0], handles[0], handles[0], handles[0]}, handles)
	require.Equal(t, handles[0], ask(t, s[1], machine.Query, `{"Watch":{"Name":"a","Not":0}}`))
	settles(t, func() error { return s[0].CloseSession(t.Context(), id) })
	require.Equal(t, "0", ask(t, s[1], machine.Query, fmt.Sprintf(`{"Watch":{"Name":"a","Not":%s}}`, handles[0])))
	require.ErrorIs(t, decided(func() error { return s[0].KeepSession(t.Context(), id) }), raftpico.ErrSessionEnded)

	short := open(5 * time.Second) // a busy machine is not so slow that it has ended by now
	settles(t, func() error { return s[1].KeepSession(t.Context(), short) })
	require.Eventually(t, func() bool {
		state, err := s[2].State(t.Context(), false)
		require.NoError(t, err)
		return state.Sessions == 0
	}, time.Minute, 10*time.Millisecond)
}
