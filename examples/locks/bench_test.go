//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// The model's own benchmarks, over its own wire: go test ./examples/locks -run - -bench Wire
//
// Servers have files, and sync them. Clients share the process and the cores with them, and so are lean: HTTP/1.1 over
// connections that are kept, written and read by hand.

const clients = 400

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
type caller struct {
	conn     net.Conn
	in       *bufio.Reader
	out, msg []byte
}

func call(b *testing.B, addr string) *caller {
	conn, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	return &caller{conn: conn, in: bufio.NewReader(conn)}
}

// post returns the body of a 200. It is valid until the next call.
func (c *caller) post(path string, body []byte) ([]byte, error) {
	c.out = append(append(append(c.out[:0], "POST "...), path...), " HTTP/1.1\r\nHost: a\r\nContent-Length: "...)
	c.out = append(strconv.AppendInt(c.out, int64(len(body)), 10), "\r\n\r\n"...)
	if _, err := c.conn.Write(append(c.out, body...)); err != nil {
		return nil, err
	}
	status, length := "", 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimSpace(line)
		switch {
		case status == "":
			status = string(line)
		case len(line) == 0:
			c.msg = append(c.msg[:0], make([]byte, length)...)
			if _, err := io.ReadFull(c.in, c.msg); err != nil {
				return nil, err
			}
			if !strings.Contains(status, " 200 ") {
				return nil, fmt.Errorf("%s: %s", status, c.msg)
			}
			return c.msg, nil
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			if length, err = strconv.Atoi(string(line[len("Content-Length: "):])); err != nil {
				return nil, err
			}
		}
	}
}

// everyone lets all clients do one thing again and again, b.N times together.
func everyone(b *testing.B, wires []string, one func(c *caller) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	callers := make([]*caller, clients)
	for i := range callers {
		callers[i] = call(b, wires[i%len(wires)])
	}
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
func pair(keys int) func(c *caller) error {
	return func(c *caller) error {
		key := rand.IntN(keys)
		got, err := c.post("/db/t", fmt.Appendf(nil, `{"LockDur":30,"LockWait":30,"LockID":"%d"}`, key))
		if err != nil {
			return err
		}
		handle := strings.Trim(string(got), "{\"l:}\n")
		_, err = c.post("/db/t", fmt.Appendf(nil, `{"UnlockID":"%d","Unlock":%s}`, key, handle))
		return err
	}
}

// set writes values of some bytes.
func set(keys, size int) func(c *caller) error {
	value := strings.Repeat("v", size)
	return func(c *caller) error {
		_, err := c.post("/db/t", fmt.Appendf(nil, `{"KVSet":[{"Key":"%d","Value":"%s"}]}`, rand.IntN(keys), value))
		return err
	}
}

func add(c *caller) error {
	_, err := c.post("/db/t", fmt.Appendf(nil, `{"Atomic":[{"Key":"%d","Add":1}]}`, rand.IntN(1000)))
	return err
}

func BenchmarkWire(b *testing.B) {
	for _, servers := range []int{1, 3} {
		run := func(name string, one func(c *caller) error) {
			b.Run(fmt.Sprintf("%d/%s", servers, name), func(b *testing.B) {
				_, wires := startServers(b, servers)
				everyone(b, wires, one)
			})
		}
		run("lock-one-key", pair(1))
		run("lock-1000-keys", pair(1000))
		run("set-64B", set(1000, 64))
		run("set-1KB", set(1000, 1024))
		run("add", add)
		for _, watchers := range []int{1, 100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%d/watch-%d", servers, watchers), func(b *testing.B) {
				s, wires := startServers(b, servers)
				watchReaction(b, s, wires, watchers)
			})
		}
	}
}

// watchReaction measures how long after a write the last watcher has its answer.
func watchReaction(b *testing.B, servers []*raftpico.Server, wires []string, watchers int) {
	callers := make([]*caller, watchers)
	for i := range callers {
		callers[i] = call(b, wires[i%len(wires)])
	}
	writer := call(b, wires[0])
	version := 0
	b.ResetTimer()
	b.StopTimer()
	for i := range b.N {
		var all sync.WaitGroup
		for _, c := range callers {
			all.Go(func() {
				if _, err := c.post("/watch/t", fmt.Appendf(nil, `{"ID":"k","Version":%d}`, version)); err != nil {
					b.Error(err)
				}
			})
		}
		waitFor(b, servers, watchers)
		b.StartTimer()
		_, err := writer.post("/db/t", fmt.Appendf(nil, `{"KVSet":[{"Key":"k","Value":%d}]}`, i))
		require.NoError(b, err)
		all.Wait()
		b.StopTimer()
		version++
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/reaction")
}

// waitFor waits until as many requests wait at the servers.
func waitFor(b *testing.B, servers []*raftpico.Server, want int) {
	time.Sleep(300 * time.Millisecond)
}
