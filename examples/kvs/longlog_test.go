//go:build linux

package main

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
)

var (
	logGB   = flag.Float64("log-gb", 0, "TestLongLog: how much log each server writes, in GB; 0: not at all")
	logKeys = flag.Int("log-keys", 2000, "TestLongLog: different keys, of 64 KiB each: the state that snapshots write again and again")
	logRate = flag.Float64("log-rate", 0, "TestLongLog: MB a second that are put at most; 0: as much as goes with four puts under way")
)

// TestLongLog shows that compaction keeps up over a long time, and whether anybody notices: values are put over and over, so
// that the log goes through many snapshots, while two clients put one small value at a time. Times and memory are told each
// minute, not judged; that no log and no memory grows, and nobody is elected, is.
//
//	go test ./examples/kvs -run TestLongLog -log-gb 100 -v -timeout 2h
func TestLongLog(t *testing.T) {
	if *logGB == 0 {
		t.Skip("takes long: ask for it with -log-gb 100")
	}
	const size = 64 << 10
	c := startCluster(t)
	leader, _ := c.leader(t)
	before, err := leader.state(false)
	require.NoError(t, err)
	client, err := jsonrpc.Dial(t.Context(), leader.addr)
	require.NoError(t, err)
	defer client.Close()

	var put, failed atomic.Int64
	var writers sync.WaitGroup
	defer writers.Wait()
	value := strings.Repeat("v", size)
	began := time.Now()
	for range 4 {
		writers.Go(func() {
			for t.Context().Err() == nil {
				n := put.Add(1)
				if float64(n*size) > *logGB*1e9 {
					return
				}
				if *logRate > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(float64(n*size) / *logRate * 1e3)))) // bytes / (MB/s) is µs
				}
				key := fmt.Sprintf("large%05d", n%int64(*logKeys))
				if _, err := client.CallRaw(t.Context(), "Apply", json.RawMessage(fmt.Sprintf(`{"kind":"Command","input":{"Put":[%q,"%s"]}}`, key, value))); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	probes := startSlowProbes(t, []string{leader.addr, leader.addr}, 2, 600, 5*time.Millisecond)
	late := startLateness(t)

	figures := map[*server]*longFigures{}
	for _, s := range c {
		figures[s] = &longFigures{}
	}
	report := func() {
		done := float64(min(put.Load()*size, int64(*logGB*1e9))) / 1e9
		t.Logf("%4.0f s: %.1f GB of log, %.0f MB/s, %d puts failed; small puts: %s; this process was woken up to %v late", time.Since(began).Seconds(), done,
			done*1e3/time.Since(began).Seconds(), failed.Load(), probes.report(), late.most())
		for i, s := range c {
			t.Logf("        server %d: %s", i, figures[s].report())
		}
	}
	state := int64(*logKeys) * size
	for i := 0; ; i++ {
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
		}
		for _, s := range c {
			figures[s].look(t, s)
		}
		over := isClosed(ended)
		if over || i%12 == 11 {
			report()
		}
		if over {
			break
		}
	}
	probes.stop()
	require.Zero(t, failed.Load())
	for _, s := range c {
		after, err := s.state(false)
		require.NoError(t, err)
		require.Equal(t, before.Term, after.Term, "there was an election")
		require.Less(t, figures[s].largest, 4*state+512<<20, "the log grows")
	}
}

// startLateness measures how late this process is woken up: what the machine does to all processes.
func startLateness(t *testing.T) *lateness {
	l := &lateness{}
	t.Cleanup(l.ended.Wait)
	l.ended.Go(func() {
		for t.Context().Err() == nil {
			began := time.Now()
			time.Sleep(5 * time.Millisecond)
			l.mu.Lock()
			l.worst = max(l.worst, time.Since(began)-5*time.Millisecond)
			l.mu.Unlock()
		}
	})
	return l
}

type lateness struct {
	ended sync.WaitGroup
	mu    sync.Mutex
	worst time.Duration // since most was called last
}

func (l *lateness) most() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	worst := l.worst
	l.worst = 0
	return worst.Round(100 * time.Microsecond)
}

// longFigures are the worst of a server since the last report, but for largest.
type longFigures struct {
	turn, append    int64 // µs
	log, snapshot   int64 // bytes
	largest         int64 // file, ever
	memory, highest int   // MB
	written         int64 // bytes to the disk so far
}

func (f *longFigures) look(t *testing.T, s *server) {
	state, err := s.state(false)
	require.NoError(t, err)
	f.turn, f.append = max(f.turn, state.Loop.SlowestTurn), max(f.append, state.Log.SlowestAppend)
	f.log, f.snapshot = max(f.log, state.Log.Bytes), state.Log.SnapshotBytes
	f.largest = max(f.largest, f.log)
	f.memory, f.highest = memory(t, s, "VmRSS"), memory(t, s, "VmHWM")
	f.written = figure(t, fmt.Sprintf("/proc/%d/io", s.cmd.Process.Pid), "write_bytes")
}

func (f *longFigures) report() string {
	text := fmt.Sprintf("slowest turn %d ms, append %d ms; log at most %d MB, snapshot %d MB; RSS %d MB, most ever %d; %.1f GB written", f.turn/1000, f.append/1000,
		f.log/1e6, f.snapshot/1e6, f.memory, f.highest, float64(f.written)/1e9)
	f.turn, f.append, f.log = 0, 0, 0
	return text
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
