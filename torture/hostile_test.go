//go:build unix

package torture

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// What the servers are told of limits (testdata/main.go).
const (
	maxLine      = 4 << 20
	budget       = 32 << 20
	compactAfter = 16 << 20
)

const (
	idlers      = 50 // connections to each server that say nothing
	bulkValues  = 64 // of a state that is expensive to show
	bulkBytes   = 64 << 10
	besides     = 6 * time.Second
	shamelessly = 4 << 20 // bytes that a connection sends at most
)

// hostility is clients that mean no good, beside the load.
type hostility struct {
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
	silent net.Listener // accepts, and says nothing

	mu    sync.Mutex
	open  map[net.Conn]bool // connections to silent
	most  int               // of them, ever
	dials int
}

// hostileClients let strangers do what they like to servers while the load goes on. It must stay right, and go on; no leader may be
// deposed; and memory is bounded.
func (r *run) hostileClients() func() {
	r.fatten()
	leader, _ := r.leader()
	before, err := leader.state(false)
	require.NoError(r.t, err)
	allowed := map[*server]int{}
	for _, s := range r.servers {
		now, err := s.resident()
		require.NoError(r.t, err)
		allowed[s] = now + (2*budget+4*compactAfter)>>10 // the log may grow meanwhile, and is garbage before it is freed
	}
	calm, err := startCanary(filepath.Join(r.dir, "canary"))
	require.NoError(r.t, err)
	h := r.startHostility()
	r.t.Cleanup(h.end)
	gap := r.progress(besides)
	h.end()
	late := calm.end()

	r.awaitWrite()
	leader, _ = r.leader()
	after, err := leader.state(false)
	require.NoError(r.t, err)
	memory, within := "", true
	for _, s := range r.servers {
		most, err := s.mostResident()
		require.NoError(r.t, err)
		memory += fmt.Sprintf(" %d/%d", most>>10, allowed[s]>>10)
		within = within && most <= allowed[s]
	}
	r.t.Logf("         %d hostile connections, %d of servers to a silent address at once, %v without a write, term %d to %d, late by %v, most MiB of allowed%s",
		h.dials, h.most, gap.Round(time.Millisecond), before.Term, after.Term, late.Round(time.Millisecond), memory)
	require.True(r.t, within, "memory is not bounded: most MiB of allowed%s", memory)
	require.LessOrEqual(r.t, h.most, maxProbes*len(r.servers), "connections to an address that is silent")
	if late < crowded {
		require.Less(r.t, gap, deadline, "no write was answered for so long")
		require.Equal(r.t, before.Term, after.Term, "an election")
	}
	for _, s := range r.servers { // nothing of it stays behind
		require.NoError(r.t, s.call(patient, "Apply", map[string]string{"kind": "LocalQuery", "input": "List"}, nil), "%v", s)
	}
	r.notPosted()
	return r.slim
}

const (
	maxProbes = 16                     // connections of a server at once to addresses that AddServer names
	crowded   = 100 * time.Millisecond // a machine on which one is late by this is no judge of pauses and elections
)

func bulkKey(i int) string { return fmt.Sprintf("bulk%d", i) }

// apply carries out a command or query at any server, until it is answered.
func (r *run) apply(kind string, input, result any) {
	r.t.Helper()
	r.eventually("an answer", func() (bool, error) {
		err := fmt.Errorf("no server runs")
		for _, s := range r.up() {
			if err = s.call(patient, "Apply", map[string]any{"kind": kind, "input": input}, result); err == nil {
				return true, nil
			}
		}
		return false, err
	})
}

// fatten makes the state larger by 4 MiB, so that GetServerState and snapshots cost something.
func (r *run) fatten() {
	r.t.Helper()
	for i := range bulkValues {
		r.apply("Command", map[string]any{"Put": []string{bulkKey(i), strings.Repeat("x", bulkBytes)}}, nil)
	}
}

func (r *run) slim() {
	r.t.Helper()
	for i := range bulkValues {
		r.apply("Command", map[string]string{"Delete": bulkKey(i)}, nil)
	}
}

// notPosted checks that what came as HTTP was not carried out.
func (r *run) notPosted() {
	r.t.Helper()
	var value any
	r.apply("Query", map[string]string{"Get": posted}, &value)
	require.Nil(r.t, value, "a web page's request was carried out")
}

func (r *run) startHostility() *hostility {
	r.t.Helper()
	silent, err := net.Listen("tcp", ":0")
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(r.ctx)
	h := &hostility{ctx: ctx, cancel: cancel, silent: silent, open: map[net.Conn]bool{}}
	h.wg.Go(h.accept)
	for _, s := range r.servers {
		for range idlers {
			h.wg.Go(func() {
				for ctx.Err() == nil {
					h.dial(s, nil, (*hostility).idle)
				}
			})
		}
	}
	for _, kind := range attacks {
		for range kind.atOnce {
			rng := rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64()))
			h.wg.Go(func() {
				for ctx.Err() == nil {
					h.dial(r.servers[rng.IntN(len(r.servers))], rng, kind.attack)
				}
			})
		}
	}
	return h
}

// end lets all go. It may be called twice.
func (h *hostility) end() {
	h.cancel()
	_ = h.silent.Close()
	h.mu.Lock()
	for conn := range h.open {
		_ = conn.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// accept takes connections to the silent address until it is closed.
func (h *hostility) accept() {
	for {
		conn, err := h.silent.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.open[conn] = true
		h.most = max(h.most, len(h.open))
		h.mu.Unlock()
		h.wg.Go(func() { // ends when either side closes
			_, _ = io.Copy(io.Discard, conn)
			h.mu.Lock()
			delete(h.open, conn)
			h.mu.Unlock()
			_ = conn.Close()
		})
	}
}

// dial carries out an attack over one connection, which lasts two seconds at most.
func (h *hostility) dial(s *server, rng *rand.Rand, attack attack) {
	dialler := net.Dialer{Timeout: time.Second}
	conn, err := dialler.DialContext(h.ctx, "tcp", s.addr)
	if err == nil {
		h.mu.Lock()
		h.dials++
		h.mu.Unlock()
		stop := context.AfterFunc(h.ctx, func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(500*time.Millisecond + rand.N(1500*time.Millisecond)))
		attack(h, conn, rng)
		stop()
		_ = conn.Close()
	}
	select { // not to take the processor from the servers
	case <-h.ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
}
