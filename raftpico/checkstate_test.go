package raftpico_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// lottery is a machine that draws numbers of its own, as it must not.
type lottery struct{ Drawn []uint64 }

var draws atomic.Uint64 // whatever a server draws, another one draws something else

func (l *lottery) Apply(ctx *machine.Context, _ int) (any, error) {
	if ctx.Kind == machine.Command {
		l.Drawn = append(l.Drawn, draws.Add(1))
	}
	return len(l.Drawn), nil
}

// hashing is a counter that keeps a hash of itself.
type hashing struct{ counter }

var hashed atomic.Int64 // how often one was asked

func (h *hashing) Hash() uint64 {
	hashed.Add(1)
	return uint64(h.Value)
}

// lines gathers what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// startChecked starts servers with files, which compare their states often.
func startChecked(t *testing.T, n int, interval time.Duration, log *lines, m func() machine.Machine) []*raftpico.Server {
	t.Helper()
	var network memnet.Network
	servers := make([]*raftpico.Server, n)
	for i := range servers {
		addr := fmt.Sprintf("server-%d:1", i)
		listener, err := network.Listen(addr)
		require.NoError(t, err)
		servers[i], err = raftpico.Start(m(), raftpico.Options{Addr: addr, File: filepath.Join(t.TempDir(), "log"), CheckState: interval,
			Listener: listener, Dial: network.Dialer(addr), Logger: slog.New(slog.NewTextHandler(log, nil))})
		require.NoError(t, err)
		t.Cleanup(func() { _ = servers[i].Close() })
	}
	joinAll(t, servers, still)
	return servers
}

// A machine that is not deterministic is found out without anybody asking: each server says so once, and shows it.
func TestDivergenceIsFound(t *testing.T) {
	t.Parallel()
	log := new(lines)
	servers := startChecked(t, 3, 50*time.Millisecond, log, func() machine.Machine { return machine.JSON(&lottery{}) })
	_, err := servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	for _, s := range servers {
		waitFor(t, func() bool {
			state, err := s.State(t.Context(), false)
			require.NoError(t, err)
			differ := 0
			for _, m := range state.Members {
				if m.Diverged {
					differ++
				}
			}
			return state.Diverged && differ == 2
		})
	}
	const differs = "the state differs from another server's"
	waitFor(t, func() bool { return len(log.with(differs)) >= 6 }) // they are written by a goroutine of their own
	found := log.with(differs)
	require.Len(t, found, 6, "three servers, two others each")
	for _, part := range []string{"level=ERROR", "self=server-", "server=", "addr=server-", "index=", "its=snapshot:", "own=snapshot:"} {
		require.Contains(t, found[0], part)
	}
	_, err = servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	state, err := servers[1].State(t.Context(), false)
	require.NoError(t, err)
	before := state.StateHash.Index
	waitFor(t, func() bool {
		state, err := servers[1].State(t.Context(), false)
		require.NoError(t, err)
		return state.StateHash.Index > before
	})
	require.Len(t, log.with("the state differs from another server's"), 6, "once")
}

// Equal states have equal hashes, asked for in process or over the network; a machine that keeps a hash is asked for
// that.
func TestCheckState(t *testing.T) {
	before, checks := hashed.Load(), int64(0)
	for name, m := range map[string]func() machine.Machine{
		"snapshot": func() machine.Machine { return machine.JSON(&counter{}) },
		"machine":  func() machine.Machine { return machine.JSON(&hashing{}) },
	} {
		t.Run(name, func(t *testing.T) {
			log := new(lines)
			servers := startChecked(t, 2, -1, log, m)
			_, err := servers[1].Apply(t.Context(), machine.Command, 5)
			require.NoError(t, err)
			require.Empty(t, log.with("state hash"), "never by itself")
			var h raftpico.StateHash
			waitFor(t, func() bool { // a snapshot may be under way
				h, err = servers[1].CheckState(t.Context())
				return !errors.Is(err, raftpico.ErrBusy)
			})
			for err == nil { // the next one is too early, unless the machine is very slow
				if name == "machine" {
					checks++
				}
				var again raftpico.StateHash
				if again, err = servers[1].CheckState(t.Context()); err == nil {
					h = again
				}
			}
			require.ErrorIs(t, err, raftpico.ErrBusy)
			require.True(t, strings.HasPrefix(h.Hash, name+":"), h.Hash)
			for _, s := range servers {
				waitFor(t, func() bool {
					state, err := s.State(t.Context(), false)
					require.NoError(t, err)
					told := 0
					for _, m := range state.Members {
						if m.StateHash != nil && *m.StateHash == h {
							told++
						}
					}
					return state.StateHash != nil && *state.StateHash == h && told == 1 && !state.Diverged
				})
			}
		})
	}
	require.Equal(t, 2*checks, hashed.Load()-before, "each server once, and the other machine never")
}

func TestCheckStateNeedsACluster(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.CheckState(context.Background())
	require.ErrorIs(t, err, raftpico.ErrNotMember)
}
