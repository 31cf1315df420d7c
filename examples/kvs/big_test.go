//go:build linux

package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/jsonrpc"
)

var (
	big      = flag.Int("big", 0, "TestBigState: the size of the state in MB, 0: not at all")
	bigAlone = flag.Bool("big-alone", false, "TestBigState: begin with one server, for states of which memory has no room for four")
)

// TestBigState shows what a large state costs: a snapshot while serving, a server that joins under load, a restart. Times
// and memory are told, not judged; that nothing is lost and nobody is elected is.
//
//	go test ./examples/kvs -run TestBigState -big 1000 -v -timeout 30m
//	go test ./examples/kvs -run TestBigState -big 5000 -big-alone -v -timeout 30m
func TestBigState(t *testing.T) {
	if *big == 0 {
		t.Skip("takes minutes: ask for it with -big 1000")
	}
	keys := *big * 1000
	var leader *server
	var others []*server
	if *bigAlone {
		leader = &server{addr: ports.Free(t, 1)[0], file: filepath.Join(t.TempDir(), "first.jsonl")}
		leader.start(t)
		require.NoError(t, call(leader.addr, "CreateCluster", nil, nil))
		fill(t, leader.addr, keys)
	} else {
		c := startCluster(t)
		fill(t, c[0].addr, keys)
		leader, others = c.leader(t)
	}
	term := func() uint64 { state, err := leader.state(false); require.NoError(t, err); return state.Term }
	tell := func(what string) {
		for _, s := range append([]*server{leader}, others...) {
			state, err := s.state(false)
			require.NoError(t, err)
			t.Logf("%s: %s %-8s RSS %5d MB, most ever %5d MB; log %5d MB, snapshot %5d MB; slowest turn of the last seconds %d ms, append %d ms", what, s.addr, state.Role,
				memory(t, s, "VmRSS"), memory(t, s, "VmHWM"), state.Log.Bytes/1e6, state.Log.SnapshotBytes/1e6, state.Loop.SlowestTurn/1000, state.Log.SlowestAppend/1000)
		}
	}
	tell("filled")
	require.Eventually(t, func() bool { // a compaction that the filling began would be measured as well
		for _, s := range append([]*server{leader}, others...) {
			if _, err := os.Stat(s.file + ".new"); err == nil {
				return false
			}
		}
		return true
	}, 2*time.Minute, 100*time.Millisecond)
	before := term()

	addrs := []string{leader.addr}
	for _, s := range others {
		addrs = append(addrs, s.addr)
	}
	l := startProbes(t, addrs, keys)
	time.Sleep(12 * time.Second) // what follows is measured against this; the slowest turns of the filling are forgotten
	t.Logf("at rest: %s", l.report())
	began := time.Now()
	for {
		var taken struct {
			Index uint64 `json:"snapshot_index"`
		}
		err := call(leader.addr, "TakeSnapshot", nil, &taken)
		if err == nil {
			break
		}
		t.Logf("TakeSnapshot after %v: %v", time.Since(began).Round(time.Millisecond), err)
	}
	took := time.Since(began)
	t.Logf("TakeSnapshot: %v, %.0f MB/s; meanwhile %s", took.Round(time.Millisecond), float64(*big)/took.Seconds(), l.report())
	tell("snapshot")

	fourth := &server{addr: ports.Free(t, 1)[0], file: filepath.Join(t.TempDir(), "fourth.jsonl")}
	fourth.start(t)
	began = time.Now()
	require.NoError(t, call(leader.addr, "AddServer", map[string]string{"addr": fourth.addr}, nil))
	require.Eventually(t, func() bool {
		state, err := leader.state(false)
		return err == nil && voters(state) == len(addrs)+1
	}, 10*time.Minute, 20*time.Millisecond)
	took = time.Since(began)
	others = append(others, fourth)
	t.Logf("join: %v; meanwhile %s", took.Round(time.Millisecond), l.report())
	tell("joined")
	require.Equal(t, before, term(), "there was an election")
	l.stop()

	require.Equal(t, 0, fourth.stop(t))
	info, err := os.Stat(fourth.file)
	require.NoError(t, err)
	began = time.Now()
	fourth.process = launch(t, command(t, "kvs", fourth.addr, fourth.file))
	require.Eventually(t, func() bool { _, err := fourth.state(false); return err == nil }, 10*time.Minute, 10*time.Millisecond)
	took = time.Since(began)
	t.Logf("restart: %v for a file of %d MB, %.0f MB/s", took.Round(time.Millisecond), info.Size()/1e6, float64(info.Size())/1e6/took.Seconds())
	tell("restarted")
	began = time.Now()
	require.Eventually(t, func() bool { // beside one other server it is half of the cluster
		return call(fourth.addr, "Apply", map[string]any{"kind": "Query", "input": map[string]string{"Get": "probe0"}}, nil) == nil
	}, time.Minute, 10*time.Millisecond)
	t.Logf("it answers queries after another %v", time.Since(began).Round(time.Millisecond))
	l.check(t, fourth.addr)
}

// fill puts keys of 1 KB, many at a time.
func fill(t *testing.T, addr string, keys int) {
	t.Helper()
	client, err := jsonrpc.Dial(t.Context(), addr)
	require.NoError(t, err)
	defer client.Close()
	var wg sync.WaitGroup
	var failed atomic.Int64
	next := make(chan int, 1000)
	began := time.Now()
	for range 200 {
		wg.Go(func() {
			for i := range next {
				for { // a Put may be repeated whatever became of it
					_, err := client.CallRaw(t.Context(), "Apply", putKey(i))
					if err == nil {
						break
					}
					failed.Add(1)
				}
			}
		})
	}
	for i := range keys {
		next <- i
	}
	close(next)
	wg.Wait()
	t.Logf("filled with %d keys of 1 KB in %v, %d puts had to be repeated", keys, time.Since(began).Round(time.Millisecond), failed.Load())
}

func putKey(i int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"kind":"Command","input":{"Put":["key%07d","%s%07d"]}}`, i, strings.Repeat("v", 980), i))
}

// probes are clients that put and get one at a time, and measure.
type probes struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	took   []time.Duration // since the last report
	failed []string
	acked  map[string]string
}

func startProbes(t *testing.T, addrs []string, keys int) *probes {
	return startSlowProbes(t, addrs, 6, keys, 0)
}

// startSlowProbes starts so many clients, each with a pause behind each put.
func startSlowProbes(t *testing.T, addrs []string, clients, keys int, pause time.Duration) *probes {
	ctx, cancel := context.WithCancel(t.Context())
	p := &probes{cancel: cancel, acked: map[string]string{}}
	for i := range clients {
		client, err := jsonrpc.Dial(ctx, addrs[i%len(addrs)])
		require.NoError(t, err)
		p.wg.Go(func() {
			defer client.Close()
			for n := 0; ctx.Err() == nil; n++ {
				time.Sleep(pause)
				key, value := fmt.Sprintf("probe%d", i), strconv.Itoa(n)
				if n%2 == 1 { // also among the large ones, all over the shards
					key, value = fmt.Sprintf("key%07d", rand.IntN(keys)/clients*clients+i), `"`+strings.Repeat("w", 990)+`"`
				}
				began := time.Now()
				_, err := client.CallRaw(context.WithoutCancel(ctx), "Apply", json.RawMessage(fmt.Sprintf(`{"kind":"Command","input":{"Put":[%q,%s]}}`, key, value)))
				p.mu.Lock()
				p.took = append(p.took, time.Since(began))
				if err != nil {
					p.failed = append(p.failed, err.Error())
				} else {
					p.acked[key] = value
				}
				p.mu.Unlock()
			}
		})
	}
	t.Cleanup(p.stop)
	return p
}

func (p *probes) stop() {
	p.cancel()
	p.wg.Wait()
}

func (p *probes) report() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	took, failed := p.took, p.failed
	p.took, p.failed = nil, nil
	if len(took) == 0 {
		return "no puts"
	}
	slices.Sort(took)
	ms := func(q float64) string {
		return fmt.Sprintf("%.1f", float64(took[min(int(q*float64(len(took))), len(took)-1)].Microseconds())/1000)
	}
	return fmt.Sprintf("%d puts, p50 %s, p99 %s, slowest %s ms, failed %d %.200v", len(took), ms(0.5), ms(0.99), ms(1), len(failed), failed)
}

// check reads everything back that was acknowledged.
func (p *probes) check(t *testing.T, addr string) {
	client, err := jsonrpc.Dial(t.Context(), addr)
	require.NoError(t, err)
	defer client.Close()
	for key, want := range p.acked {
		var got json.RawMessage
		require.NoError(t, client.Call(t.Context(), "Apply", json.RawMessage(fmt.Sprintf(`{"kind":"Query","input":{"Get":%q}}`, key)), &got))
		require.Equal(t, want, string(got), key)
	}
}

// memory is a figure of a process in /proc, in MB.
func memory(t *testing.T, s *server, name string) int {
	t.Helper()
	return int(figure(t, fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid), name) * 1024 / 1e6)
}

// figure is the number behind a name in a file of /proc.
func figure(t *testing.T, path, name string) int64 {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return n
		}
	}
	require.FailNow(t, "no such figure", name)
	return 0
}
