//go:build unix

package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	const keys = 1000
	write := func(i int) (*http.Request, error) {
		form := url.Values{fmt.Sprintf("key%03d", i%keys): {fmt.Sprint("value", i)}}
		r, err := http.NewRequest("POST", "http://"+nodes[i%5].http+"/konsen", strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r, err
	}
	read := func(i int) (*http.Request, error) {
		return http.NewRequest("GET", fmt.Sprintf("http://%s/konsen?key=key%03d", nodes[i%5].http, i%keys), nil)
	}
	for i := range keys { // and open connections
		require.True(t, set(nodes[i%5].http, fmt.Sprintf("key%03d", i), "value"))
	}
	offer := func(what string, rate int, request func(int) (*http.Request, error)) {
		took, failed := offer(client, rate, *httpLoad, request)
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
	offer("reads of the leader", 10_000, func(i int) (*http.Request, error) {
		return http.NewRequest("GET", fmt.Sprintf("http://%s/konsen?key=key%03d", nodes[leader].http, i%keys), nil)
	})
	var both sync.WaitGroup
	both.Go(func() { offer("writes beside reads", 500, write) })
	offer("reads beside writes", 10_000, read)
	both.Wait()
}

// offer sends requests at a rate for a time, and returns how long each took from when it was due.
func offer(client *http.Client, rate int, long time.Duration, request func(int) (*http.Request, error)) (took []time.Duration, failed int64) {
	n := int(long.Seconds() * float64(rate))
	took = make([]time.Duration, n)
	var failures atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for sent := 0; sent < n; time.Sleep(100 * time.Microsecond) {
		due := min(int(time.Since(began).Seconds()*float64(rate)), n)
		for i := range due - sent {
			i += sent
			wg.Go(func() {
				if !answered(client, i, request) {
					failures.Add(1)
				}
				took[i] = time.Since(began) - time.Duration(i)*time.Second/time.Duration(rate)
			})
		}
		sent = due
	}
	wg.Wait()
	return took, failures.Load()
}

// answered sends a request and reads the answer.
func answered(client *http.Client, i int, request func(int) (*http.Request, error)) bool {
	r, err := request(i)
	if err != nil {
		return false
	}
	response, err := client.Do(r)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return err == nil && response.StatusCode == http.StatusOK && (r.Method == "POST" || strings.HasPrefix(string(body), "value"))
}
