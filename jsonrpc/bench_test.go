package jsonrpc

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-json"
)

// BenchmarkServer keeps 1,000 requests under way on one connection. The client is as cheap as can be: it writes the same
// bytes again and counts newlines.
func BenchmarkServer(b *testing.B) {
	answer := func(calls []Call) {
		for i := range calls {
			calls[i].Result([]byte("null"))
		}
		calls[0].Conn().Flush()
	}
	b.Run("reader", func(b *testing.B) { benchServer(b, answer) })

	batches := make(chan []Call, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for calls := range batches {
			answer(calls)
		}
	}()
	b.Run("loop", func(b *testing.B) { benchServer(b, func(calls []Call) { batches <- calls }) })
	close(batches)
	<-done
}

func benchServer(b *testing.B, handler func([]Call)) {
	addr := start(b, &Server{Handler: handler})
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	const depth = 1000
	line := append(bytes.Clone(envelopeLine), '\n')
	pipeline := bytes.Repeat(line, depth)
	buf := make([]byte, 1<<16)
	b.ReportAllocs()
	b.ResetTimer()
	sent, got := 0, 0
	for got < b.N {
		if n := min(depth-(sent-got), b.N-sent); n > 0 {
			if _, err := nc.Write(pipeline[:n*len(line)]); err != nil {
				b.Fatal(err)
			}
			sent += n
		}
		n, err := nc.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		got += bytes.Count(buf[:n], newline)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

func BenchmarkClientCall(b *testing.B) {
	c := dial(b, start(b, &Server{Handler: echo}))
	b.ReportAllocs()
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.CallRaw(b.Context(), "echo", nil); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkClientOfManyCallers is a call of one of 1,000 goroutines, which share a connection, with the server's part.
func BenchmarkClientOfManyCallers(b *testing.B) {
	c := dial(b, start(b, &Server{Handler: echo}))
	params := json.RawMessage(`{"kind":"Command","input":{"Put":["abcdefgh","vvvvvvvvvvvvvvvv"]}}`)
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			var out []byte
			var err error
			for left.Add(-1) >= 0 {
				if out, err = c.AppendCall(b.Context(), out[:0], "echo", params); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
