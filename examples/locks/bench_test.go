//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/examples/internal/lean"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// The model's own benchmarks, over its own wire, and over JSON-RPC by package client:
//
//	go test ./examples/locks -run - -bench 'Locks|HTTP'
//	go test ./examples/locks -run - -bench Locks/3-servers/HTTP -benchtime 20000x
//
// Servers have files, and sync them. Clients share the process and the cores with them. Those of HTTP are lean: HTTP/1.1 over
// connections that are kept, written and read by hand.

const clients = 400

// benchClient is one client.
type benchClient interface {
	do(body []byte) (answer []byte, err error)
	watch(version int) error
}

// startServers starts servers with files, which have formed a cluster, and returns where their HTTP wires listen.
func startServers(b *testing.B, n int) (servers []*raftpico.Server, wires []string) {
	dir, logger := b.TempDir(), slog.New(slog.DiscardHandler)
	for i := range n {
		s, err := raftpico.Start(newService(), raftpico.Options{
			Addr: "127.0.0.1:0", File: filepath.Join(dir, fmt.Sprint(i, ".jsonl")), Logger: logger})
		require.NoError(b, err)
		b.Cleanup(func() { _ = s.Close() })
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		web := &http.Server{Handler: newHandler(s)}
		go func() { _ = web.Serve(keep(listener, newPost(s))) }()
		b.Cleanup(func() { _ = web.Close() })
		servers, wires = append(servers, s), append(wires, listener.Addr().String())
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	_, err := servers[0].CreateCluster(ctx, raftpico.Timeouts{})
	require.NoError(b, err)
	for _, s := range servers[1:] {
		_, err := servers[0].AddServer(ctx, s.Addr())
		require.NoError(b, err)
	}
	for _, s := range servers {
		require.NoError(b, s.Ready(ctx))
	}
	return servers, wires
}

// caller is a client with a connection of its own.
type caller struct{ *lean.Conn }

func call(b *testing.B, addr string) caller {
	conn, err := lean.Dial(addr)
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	return caller{conn}
}

func (c caller) do(body []byte) ([]byte, error) { return c.Do("POST", "/db/t", "", body) }

func (c caller) watch(version int) error {
	_, err := c.Do("POST", "/watch/t", "", fmt.Appendf(nil, `{"ID":"k","Version":%d}`, version))
	return err
}

// rpcCaller is a caller of package client, which is one for all.
type rpcCaller struct {
	ctx context.Context
	c   *client.Client
}

func (r rpcCaller) do(body []byte) (answer []byte, err error) {
	var out json.RawMessage
	err = r.c.Apply(r.ctx, machine.Command, input("Do", "t", body), &out)
	return out, err
}

func (r rpcCaller) watch(version int) error {
	return r.c.Apply(r.ctx, machine.Query, map[string]watchRequest{"Watch": {Tenant: "t", ID: "k", Version: uint64(version)}}, nil)
}

// bench starts servers, and clients of them.
func bench(b *testing.B, servers int, wire string, clients int) ([]*raftpico.Server, []benchClient) {
	all, wires := startServers(b, servers)
	var addrs []string
	for _, s := range all {
		addrs = append(addrs, s.Addr())
	}
	var callers []benchClient
	shared := client.New(addrs...)
	b.Cleanup(func() { _ = shared.Close() })
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	for i := range clients {
		if wire == "HTTP" {
			callers = append(callers, call(b, wires[i%len(wires)]))
		} else {
			callers = append(callers, rpcCaller{ctx, shared})
		}
	}
	return all, callers
}

// everyone lets all clients do one thing again and again, b.N times together.
func everyone(b *testing.B, callers []benchClient, one func(c benchClient) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	before := cpu()
	for _, c := range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := one(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "/s")
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// pair locks and unlocks one of some locks.
func pair(keys int) func(c benchClient) error {
	return func(c benchClient) error {
		key := rand.IntN(keys)
		got, err := c.do(fmt.Appendf(nil, `{"LockDur":30,"LockWait":30,"LockID":"%d"}`, key))
		if err != nil {
			return err
		}
		_, err = c.do(fmt.Appendf(nil, `{"UnlockID":"%d","Unlock":%s}`, key, strings.Trim(string(got), "{\"l:}")))
		return err
	}
}

// set writes values of some bytes.
func set(size int) func(c benchClient) error {
	value := strings.Repeat("v", size)
	return func(c benchClient) error {
		_, err := c.do(fmt.Appendf(nil, `{"KVSet":[{"Key":"%d","Value":"%s"}]}`, rand.IntN(1000), value))
		return err
	}
}

func add(c benchClient) error {
	_, err := c.do(fmt.Appendf(nil, `{"Atomic":[{"Key":"%d","Add":1}]}`, rand.IntN(1000)))
	return err
}

// BenchmarkHTTP is what the same clients reach at an http.Server that reads a request, answers {} and does nothing else: more than
// any lock server behind one can.
func BenchmarkHTTP(b *testing.B) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			b.Error(err)
		}
		w.Header()["Content-Type"] = jsonType
		_, _ = io.WriteString(w, "{}")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	web := &http.Server{Handler: echo}
	go func() { _ = web.Serve(listener) }()
	defer web.Close()
	var callers []benchClient
	for range clients {
		callers = append(callers, call(b, listener.Addr().String()))
	}
	everyone(b, callers, set(64))
}

func BenchmarkLocks(b *testing.B) {
	for _, servers := range []int{1, 3} {
		for _, wire := range []string{"HTTP", "JSON-RPC"} {
			run := func(name string, f func(b *testing.B)) {
				b.Run(fmt.Sprintf("%d-servers/%s/%s", servers, wire, name), f)
			}
			for _, test := range []struct {
				name string
				one  func(c benchClient) error
			}{{"pair-1-key", pair(1)}, {"pair-1000-keys", pair(1000)}, {"set-64B", set(64)}, {"set-1KB", set(1024)}, {"add", add}} {
				run(test.name, func(b *testing.B) {
					_, callers := bench(b, servers, wire, clients)
					everyone(b, callers, test.one)
				})
			}
			for _, watchers := range []int{1, 100, 1000, 10_000} {
				run(fmt.Sprintf("watch-%d", watchers), func(b *testing.B) { watchReaction(b, servers, wire, watchers) })
			}
		}
	}
}

// watchReaction measures how long after a write the last watcher has its answer.
func watchReaction(b *testing.B, servers int, wire string, watchers int) {
	if need := 2*watchers + 500; wire == "HTTP" && maxFiles() < need {
		b.Skipf("it needs %d open files: ulimit -n", need)
	}
	all, callers := bench(b, servers, wire, watchers+1)
	b.ResetTimer()
	b.StopTimer()
	for version := range b.N {
		var waiting sync.WaitGroup
		for _, c := range callers[1:] {
			waiting.Go(func() {
				if err := c.watch(version); err != nil {
					b.Error(err)
				}
			})
		}
		waitFor(b, all, watchers)
		b.StartTimer()
		_, err := callers[0].do([]byte(`{"KVSet":[{"Key":"k","Value":"v"}]}`))
		require.NoError(b, err)
		waiting.Wait()
		b.StopTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/reaction")
}
