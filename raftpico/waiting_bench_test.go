package raftpico_test

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// What it takes to tell 10,000 clients of a change: from the command that makes it until the last has its answer. They are on
// one server, over 1,000 connections or 10, and wait by a query or for a lock's deferred answer.
func BenchmarkWaiting(b *testing.B) {
	const waiters = 10_000
	for _, conns := range []int{10, 1000} {
		for _, kind := range []machine.Kind{machine.LocalQuery, machine.Query, machine.Command} {
			b.Run(fmt.Sprintf("%s/connections=%d", kind, conns), func(b *testing.B) { benchmarkWaiting(b, waiters, conns, kind) })
		}
	}
}

func benchmarkWaiting(b *testing.B, waiters, conns int, kind machine.Kind) {
	s, err := raftpico.Start(machine.JSON(&turnstile{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet})
	require.NoError(b, err)
	defer s.Close()
	_, err = s.CreateCluster(b.Context(), raftpico.Timeouts{})
	require.NoError(b, err)
	clients := make([]net.Conn, conns)
	for i := range clients {
		clients[i], err = net.Dial("tcp", s.Addr())
		require.NoError(b, err)
		defer clients[i].Close()
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var parked uint64
	var slowest time.Duration
	for opened := 0; b.Loop(); opened++ {
		b.StopTimer()
		line := fmt.Sprintf(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":%q,"input":{"Wait":%d},"timeout_ms":60000},"id":1}`+"\n", kind, opened)
		for i := range waiters {
			_, err := clients[i%conns].Write([]byte(line))
			require.NoError(b, err)
		}
		for {
			state, err := s.State(b.Context(), false)
			require.NoError(b, err)
			if state.Waiting == waiters {
				break
			}
			time.Sleep(time.Millisecond)
		}
		parked = heap()
		var wg sync.WaitGroup
		for i, c := range clients {
			count := waiters / conns
			wg.Go(func() {
				r := bufio.NewReader(c)
				for range count {
					if _, err := r.ReadSlice('\n'); err != nil {
						b.Error(i, err)
						return
					}
				}
			})
		}
		b.StartTimer()
		began := time.Now()
		_, err := s.Apply(b.Context(), machine.Command, json.RawMessage(`{"Open":true}`))
		require.NoError(b, err)
		wg.Wait()
		slowest = max(slowest, time.Since(began))
	}
	state, err := s.State(b.Context(), false)
	require.NoError(b, err)
	b.ReportMetric(float64(parked-before)/float64(waiters), "B/waiter")
	b.ReportMetric(float64(state.Loop.SlowestTurn)/1000, "ms-slowest-turn")
	b.ReportMetric(float64(slowest.Milliseconds()), "ms-slowest")
}

// turnstile lets all pass who wait, each time that it is opened.
type turnstile struct {
	Opened  uint64
	Waiting []machine.Ticket
}

func (g *turnstile) Apply(ctx *machine.Context, in struct {
	Wait uint64 // until it is opened after that
	Open bool
}) (any, error) {
	switch {
	case in.Open && ctx.Kind == machine.Command:
		g.Opened++
		for _, t := range g.Waiting {
			ctx.Answer(t, g.Opened, nil)
		}
		g.Waiting = nil
		ctx.Wake("gate")
	case ctx.Kind == machine.Command:
		g.Waiting = append(g.Waiting, ctx.Defer())
	case in.Wait == g.Opened:
		ctx.Wait("gate")
	}
	return g.Opened, nil
}
