//go:build unix

package main

import (
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/examples/internal/lean"
)

var httpLoad = flag.Duration("http-load", 0, "TestHTTPLoad: how long each load lasts, 0: not at all")

// TestHTTPLoad offers five servers, in processes of their own, 500 writes a second, then 10,000 reads, of all servers and of the leader,
// then writes and reads, and tells how long the answers took. That none failed is judged. An answer's time begins when its request is due, whether or not a connection was free then.
//
//	go test ./examples/kvs -run TestHTTPLoad -http-load 5s -v
func TestHTTPLoad(t *testing.T) {
	if *httpLoad == 0 {
		t.Skip("measures, and needs the machine for itself: ask for it with -http-load 5s")
	}
	path, nodes := writeCluster(t, 5)
	for _, n := range nodes {
		n.begin(t, path)
	}
	awaitReady(t, nodes, 5)
	const keys = 1000
	write := func(i int) request {
		form := url.Values{fmt.Sprintf("key%03d", i%keys): {fmt.Sprint("value", i)}}
		return request{nodes[i%5].http, "POST", "/konsen", []byte(form.Encode())}
	}
	read := func(i int) request {
		return request{nodes[i%5].http, "GET", fmt.Sprintf("/konsen?key=key%03d", i%keys), nil}
	}
	for i := range keys {
		require.True(t, set(nodes[i%5].http, fmt.Sprintf("key%03d", i), "value"))
	}
	offer := func(what string, rate int, request func(int) request) {
		took, failed := offer(rate, *httpLoad, request)
		slices.Sort(took)
		var sum time.Duration
		for _, d := range took {
			sum += d
		}
		at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(10 * time.Microsecond) }
		t.Logf("%s: %d at %d/s: mean %v, p50 %v, p95 %v, p99 %v, max %v; failed %d", what, len(took), rate,
			(sum / time.Duration(len(took))).Round(10*time.Microsecond), at(0.5), at(0.95), at(0.99), at(1), failed)
		require.Zero(t, failed)
	}
	state, err := nodes[0].state(false)
	require.NoError(t, err)
	leader := slices.IndexFunc(nodes, func(n *node) bool { return n.addr == state.Leader })
	offer("writes", 500, write)
	offer("reads", 10_000, read)
	offer("reads of the leader", 10_000, func(i int) request {
		r := read(i)
		r.addr = nodes[leader].http
		return r
	})
	var both sync.WaitGroup
	both.Go(func() { offer("writes beside reads", 500, write) })
	offer("reads beside writes", 10_000, read)
	both.Wait()
}

// request is one to a server.
type request struct {
	addr, method, path string
	form               []byte
}

// users are how many requests may be under way. Each keeps a connection to each server.
const users = 100

// offer sends requests at a rate for a time, and returns how long each took from when it was due.
func offer(rate int, long time.Duration, next func(int) request) (took []time.Duration, failed int64) {
	n := int(long.Seconds() * float64(rate))
	took = make([]time.Duration, n)
	var failures atomic.Int64
	due := make(chan int, n)
	began := time.Now()
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			conns := map[string]*lean.Conn{}
			for i := range due {
				if !answered(conns, next(i)) {
					failures.Add(1)
				}
				took[i] = time.Since(began) - time.Duration(i)*time.Second/time.Duration(rate)
			}
			for _, c := range conns {
				_ = c.Close()
			}
		})
	}
	for sent := 0; sent < n; time.Sleep(100 * time.Microsecond) {
		for now := min(int(time.Since(began).Seconds()*float64(rate)), n); sent < now; sent++ {
			due <- sent
		}
	}
	close(due)
	wg.Wait()
	return took, failures.Load()
}

// answered sends a request and reads the answer.
func answered(conns map[string]*lean.Conn, r request) bool {
	c := conns[r.addr]
	if c == nil {
		var err error
		if c, err = lean.Dial(r.addr); err != nil {
			return false
		}
		conns[r.addr] = c
	}
	body, err := c.Do(r.method, r.path, "application/x-www-form-urlencoded", r.form)
	return err == nil && (r.method == "POST" || strings.HasPrefix(string(body), "value"))
}
