package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/examples/ids/idclient"
	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/raftpico"
)

// startFiles starts three servers in this process, each with a file that it syncs before it answers, and makes them a cluster.
func startFiles(b *testing.B) []string {
	b.Helper()
	var servers []*raftpico.Server
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	for i := range 3 {
		s, err := raftpico.Start(ids.New(), raftpico.Options{
			Addr: "127.0.0.1:0", File: filepath.Join(b.TempDir(), fmt.Sprintf("server-%d.jsonl", i)), Logger: quiet})
		require.NoError(b, err)
		b.Cleanup(func() { _ = s.Close() })
		servers = append(servers, s)
	}
	_, err := servers[0].CreateCluster(b.Context(), raftpico.Timeouts{})
	require.NoError(b, err)
	for _, s := range servers[1:] {
		_, err := servers[0].AddServer(b.Context(), s.Addr())
		require.NoError(b, err)
	}
	return addrs(servers)
}

// BenchmarkSequence is what an id costs: one client, one caller, three servers that sync.
func BenchmarkSequence(b *testing.B) {
	addrs := startFiles(b)
	for _, size := range []int{0, 1, 2, 1024} {
		start := func(b *testing.B, how string) *idclient.Client[idclient.ID] {
			c, err := idclient.New(fmt.Sprint(how, size), size, addrs...)
			require.NoError(b, err)
			_, err = c.Next(b.Context()) // it is connected
			require.NoError(b, err)
			return c
		}
		b.Run(fmt.Sprintf("buffer=%d/next", size), func(b *testing.B) {
			c := start(b, "next")
			defer c.Close()
			for b.Loop() {
				if _, err := c.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("buffer=%d/stream", size), func(b *testing.B) {
			c := start(b, "stream")
			defer c.Close()
			stream := c.Stream()
			for b.Loop() {
				if <-stream == 0 {
					b.Fatal(c.Err())
				}
			}
		})
	}
}

// BenchmarkULIDs is 50 clients with buffers, three servers that sync.
func BenchmarkULIDs(b *testing.B) {
	const clients = 50
	addrs := startFiles(b)
	for _, size := range []int{1024, 65536} {
		b.Run(fmt.Sprintf("clients=%d/buffer=%d", clients, size), func(b *testing.B) {
			var cs [clients]*idclient.Client[ulid.ULID]
			for i := range cs {
				var err error
				cs[i], err = idclient.NewULIDs(size, addrs...)
				require.NoError(b, err)
				defer cs[i].Close()
				_, err = cs[i].Next(b.Context()) // it is connected
				require.NoError(b, err)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, c := range cs {
				wg.Go(func() {
					for range b.N/clients + 1 {
						if _, err := c.Next(b.Context()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ids/s")
		})
	}
}
