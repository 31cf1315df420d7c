package raftpico_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// counter is the machine of these tests.
type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// startServer starts a server on a free port, with its file in dir, and closes it at the end of the test.
func startServer(t *testing.T, m machine.Machine, change func(*raftpico.Options)) *raftpico.Server {
	t.Helper()
	opts := raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(t.TempDir(), "log.jsonl"), Logger: quiet}
	if change != nil {
		change(&opts)
	}
	s, err := raftpico.Start(m, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Election timeouts. On a busy machine a leader may be lost at any time: with fast ones that happens, and what is asked
// meanwhile must be asked again (settles). Most tests want no election, and are still.
var (
	fast  = raftpico.Timeouts{Min: 200 * time.Millisecond, Max: 400 * time.Millisecond}
	calm  = raftpico.Timeouts{Min: time.Second, Max: 2 * time.Second}
	still = raftpico.Timeouts{Min: 3 * time.Second, Max: 6 * time.Second} // a leader goes on believing in itself, also alone
)

// startCluster starts n servers that are a cluster, each a full member. The first one leads, and stays the leader.
func startCluster(t *testing.T, n int) []*raftpico.Server {
	t.Helper()
	return startStill(t, n, func() machine.Machine { return machine.JSON(&counter{}) })
}

// startStill is startCluster of any machine.
func startStill(t *testing.T, n int, m func() machine.Machine) []*raftpico.Server {
	t.Helper()
	servers := make([]*raftpico.Server, n)
	for i := range servers {
		servers[i] = startServer(t, m(), nil)
	}
	joinAll(t, servers, still)
	return servers
}

// joinAll makes servers a cluster, each a voter. At first the first one leads.
func joinAll(t *testing.T, servers []*raftpico.Server, timeouts raftpico.Timeouts) {
	t.Helper()
	_, err := servers[0].CreateCluster(t.Context(), timeouts)
	require.NoError(t, err)
	for _, s := range servers[1:] {
		add(t, servers[0], s)
	}
	for _, s := range servers { // each: one that knows of fewer voters can't elect without the leader
		waitFor(t, func() bool { return voters(t, s) == len(servers) })
	}
}

// add has a member add a server. It is asked again where leadership changes hands.
func add(t *testing.T, member, s *raftpico.Server) {
	t.Helper()
	waitFor(t, func() bool {
		_, err := member.AddServer(t.Context(), s.Addr())
		return err == nil || errors.Is(err, raftpico.ErrServerExists)
	})
}

// decided is what a call comes to. It is made again where an election refuses it, with the promise that nothing has come of
// it.
func decided(call func() error) (err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		err = call()
		if !errors.Is(err, raftpico.ErrRejected) && !errors.Is(err, raftpico.ErrNoLeader) {
			break
		}
	}
	return err
}

// settles makes such a call, which must succeed.
func settles(t *testing.T, call func() error) {
	t.Helper()
	require.NoError(t, decided(call))
}

// applies carries out a command on a server.
func applies(t *testing.T, s *raftpico.Server, input any) {
	t.Helper()
	settles(t, func() error { _, err := s.Apply(ample(t), machine.Command, input); return err })
}

// ample is a context that lasts longer than a server's own deadline.
func ample(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func voters(t *testing.T, s *raftpico.Server) (n int) {
	state, err := s.State(t.Context(), false)
	require.NoError(t, err)
	for _, m := range state.Members {
		if m.Role == "Voter" {
			n++
		}
	}
	return n
}

// waitFor waits until a condition holds, for as long as a busy machine may take.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, time.Minute, 5*time.Millisecond)
}

// leaderOf returns the server that leads.
func leaderOf(t *testing.T, servers []*raftpico.Server) (leader *raftpico.Server) {
	t.Helper()
	waitFor(t, func() bool {
		for _, s := range servers {
			if state, err := s.State(t.Context(), false); err == nil && state.Role == "Leader" {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
}

func decodeInt(t *testing.T, b json.RawMessage) (n int) {
	t.Helper()
	require.NoError(t, json.Unmarshal(b, &n))
	return n
}
