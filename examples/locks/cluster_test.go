package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// cluster is three servers, and a client of them.
type cluster struct {
	*memnet.Cluster
	t   *testing.T
	c   *client.Client
	ctx context.Context
}

func startCluster(t *testing.T) *cluster {
	c := &cluster{Cluster: memnet.Start(t, 3, newService), t: t}
	var addrs []string
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr())
	}
	c.c = client.NewWith(client.Options{Dial: c.Dialer("client:1"), Silence: time.Second}, addrs...)
	t.Cleanup(func() { _ = c.c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c.ctx = ctx
	return c
}

// do lets somebody do a request: a client.Client or a client.Session.
func (c *cluster) do(ctx context.Context, who client.Applier, r request) (response, error) {
	r.Tenant = "t"
	return client.Call[response](ctx, who, machine.Command, map[string]request{"Do": r})
}

// must is do by the cluster's own client, without an error.
func (c *cluster) must(r request) response {
	c.t.Helper()
	out, err := c.do(c.ctx, c.c, r)
	require.NoError(c.t, err)
	return out
}

// waiting waits until as many requests wait at all servers together.
func (c *cluster) waiting(want int) {
	c.t.Helper()
	waitFor(c.t, c.Servers, want)
}

// TestALockExpiresOverAFailover: another leader, who never saw the lock given, frees it in time.
func TestALockExpiresOverAFailover(t *testing.T) {
	c := startCluster(t)
	first := c.must(request{LockID: "a", LockDur: 2})
	began := time.Now()
	c.Isolate(c.Leader().Addr())
	second := c.must(request{LockID: "a", LockDur: 60, LockWait: 30})
	require.Greater(t, second.Lock, first.Lock)
	require.GreaterOrEqual(t, time.Since(began), 1900*time.Millisecond)
	_, err := c.do(c.ctx, c.c, request{UnlockID: "a", Unlock: first.Lock})
	require.ErrorContains(t, err, "not_holder")
}

// TestTheLineOutlivesItsLeader: who waits is served in the old order when the leader has changed.
func TestTheLineOutlivesItsLeader(t *testing.T) {
	c := startCluster(t)
	session, err := c.c.OpenSession(c.ctx, time.Minute) // whose commands are sent again when the leader is lost
	require.NoError(t, err)
	holder := c.must(request{LockID: "a", LockDur: 60})
	const n = 5
	var all sync.WaitGroup
	handles := make([]uint64, n)
	for i := range n {
		all.Go(func() {
			out, err := c.do(c.ctx, session, request{LockID: "a", LockDur: 60, LockWait: 30, Atomic: []counterOp{{Key: "turn", Add: new(int64(1))}}})
			if handles[i] = out.Lock; err == nil && out.Atomic[0].New == int64(i+1) {
				_, err = c.do(c.ctx, c.c, request{UnlockID: "a", Unlock: out.Lock})
			} else if err == nil {
				err = fmt.Errorf("turn %d", out.Atomic[0].New)
			}
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
		c.waiting(i + 1)
	}
	leader := c.Leader()
	c.Isolate(leader.Addr())
	c.must(request{UnlockID: "a", Unlock: holder.Lock})
	all.Wait()
	for i, handle := range handles {
		require.Equal(t, holder.Lock+uint64(i)+1, handle)
	}
}

// TestWhoGoesGivesItsTurnOn cancels one who waits, in process and over HTTP.
func TestWhoGoesGivesItsTurnOn(t *testing.T) {
	c := startCluster(t)
	web := httptest.NewServer(newHandler(c.Servers[1]))
	t.Cleanup(web.Close)
	holder := c.must(request{LockID: "a", LockDur: 600})

	gone, cancel := context.WithCancel(c.ctx)
	ended := make(chan error, 2)
	go func() {
		body := []byte(`{"LockID":"a","LockDur":600,"LockWait":300}`)
		r, err := http.NewRequestWithContext(gone, http.MethodPost, web.URL+"/db/t", bytes.NewReader(body))
		if err == nil {
			_, err = http.DefaultClient.Do(r)
		}
		ended <- err
	}()
	c.waiting(1)
	go func() {
		_, err := c.Servers[2].Apply(gone, machine.Command, map[string]request{"Do": {Tenant: "t", LockID: "a", LockDur: 600, LockWait: 300}})
		ended <- err
	}()
	c.waiting(2)
	cancel()
	require.Error(t, <-ended)
	require.Error(t, <-ended)
	c.waiting(0) // an answer that is on its way to somebody who goes is lost, with its lock

	c.must(request{UnlockID: "a", Unlock: holder.Lock})
	next := c.must(request{LockID: "a", LockDur: 600, LockWait: 30})
	require.Greater(t, next.Lock, holder.Lock)
}

// TestAServerThatStopsTakesThoseWhoWaitAtItOutOfTheLine: more of them than one entry tells of.
func TestAServerThatStopsTakesThoseWhoWaitAtItOutOfTheLine(t *testing.T) {
	const n = 2100
	c := startCluster(t)
	c.must(request{LockID: "a", LockDur: 600})
	leader := c.Leader()
	server := c.Servers[slices.IndexFunc(c.Servers, func(s *raftpico.Server) bool { return s != leader })]
	var all sync.WaitGroup
	var failed atomic.Int64
	for range n {
		all.Go(func() {
			_, err := server.Apply(c.ctx, machine.Command, map[string]request{"Do": {Tenant: "t", LockID: "a", LockDur: 600, LockWait: 300}})
			if err == nil {
				t.Error("two hold the lock")
			}
			failed.Add(1)
		})
	}
	require.Eventually(t, func() bool {
		state, err := server.State(t.Context(), false)
		return err == nil && state.Waiting+int(failed.Load()) == n
	}, time.Minute, time.Millisecond)
	require.NoError(t, server.Close())
	all.Wait()
	require.Eventually(t, func() bool {
		var left struct{ Waiting map[string]any }
		return json.Unmarshal([]byte(stateOf(t, leader)), &left) == nil && len(left.Waiting) == 0
	}, time.Minute, 10*time.Millisecond)
}

// TestTheRestOfItsTimeOutlivesARestart: it is the rest until a time of day, so what passes while no server runs counts.
func TestTheRestOfItsTimeOutlivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log.jsonl")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	addr := "127.0.0.1:0"
	start := func() *raftpico.Server {
		s, err := raftpico.Start(newService(), raftpico.Options{Addr: addr, File: file, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		addr = s.Addr()
		return s
	}
	do := func(s *raftpico.Server, r request) response {
		r.Tenant = "t"
		out, err := raftpico.Apply[response](ctx, s, map[string]request{"Do": r})
		require.NoError(t, err)
		return out
	}
	s := start()
	_, err := s.CreateCluster(ctx, raftpico.Timeouts{Min: 100 * time.Millisecond})
	require.NoError(t, err)
	short := do(s, request{LockID: "short", LockDur: 3})
	long := do(s, request{LockID: "long", LockDur: 600})
	began := time.Now()
	_, err = s.TakeSnapshot(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	s = start()
	defer func() { _ = s.Close() }()
	require.NoError(t, s.Ready(ctx))
	next := do(s, request{LockID: "short", LockDur: 1, LockWait: 30})
	require.Greater(t, next.Lock, long.Lock)
	require.Greater(t, time.Since(began), 2900*time.Millisecond, "it has expired too early")
	require.Less(t, short.Lock, long.Lock)
	do(s, request{UnlockID: "long", Unlock: long.Lock})
}

// TestManyWatch lets a thousand clients watch one key at three servers.
func TestManyWatch(t *testing.T) {
	c := startCluster(t)
	const n = 1000
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			watch := map[string]watchRequest{"Watch": {Tenant: "t", ID: "k"}}
			now, err := raftpico.Query[keyValue](c.ctx, c.Servers[i%3], watch)
			if err != nil || now.Version != 4 {
				t.Errorf("%+v, %v", now, err)
			}
		})
	}
	c.waiting(n)
	c.must(request{KVSet: []setOp{{Key: "other", Delete: true}, {Key: "k", Delete: true}}})
	c.waiting(n)
	c.must(request{KVSet: []setOp{{Key: "other", Value: raw(`1`)}}})
	c.waiting(n)
	c.Leader()
	c.must(request{Atomic: []counterOp{{Key: "k", Add: new(int64(1))}}, KVGet: []string{"k"}})
	c.must(request{KVSet: []setOp{{Key: "k", Value: raw(`1`)}}})
	all.Wait()
}

func TestHealth(t *testing.T) {
	c := startCluster(t)
	web := httptest.NewServer(newHandler(c.Servers[1]))
	t.Cleanup(web.Close)
	for _, path := range []string{"/health", "/ready"} {
		require.Eventually(t, func() bool {
			got, err := http.Get(web.URL + path)
			require.NoError(t, err)
			defer got.Body.Close()
			return got.StatusCode == http.StatusOK
		}, time.Minute, 10*time.Millisecond)
	}
}
