//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/client"
	"github.com/raftpico/go/internal/ports"
)

// asMain is the variable that makes this test's program the ids program.
const asMain = "IDS_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// server is a process, with its addresses and its file, which outlive it.
type server struct {
	addr, join, file string
	cmd              *exec.Cmd
}

func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(os.Args[0], "-join", s.join, "-bootstrap", "3", s.addr, s.file)
	s.cmd.Env = append(os.Environ(), asMain+"=1")
	s.cmd.Stderr = t.Output()
	require.NoError(t, s.cmd.Start())
	cmd := s.cmd
	t.Cleanup(func() { kill(cmd) })
}

// kill is kill -9 of processes, all at once. They are gone when it returns.
func kill(cmds ...*exec.Cmd) {
	for _, cmd := range cmds {
		_ = cmd.Process.Kill() // it may have been killed
	}
	for _, cmd := range cmds {
		_ = cmd.Wait() // how it ended is known
	}
}

type cluster [3]*server

// startCluster starts three servers, which find each other.
func startCluster(t *testing.T) (c cluster) {
	t.Helper()
	dir := t.TempDir()
	var addrs []string
	for i := range c {
		c[i] = &server{addr: ports.Free(t, 1)[0], file: filepath.Join(dir, fmt.Sprintf("server-%d.jsonl", i))}
		addrs = append(addrs, c[i].addr)
	}
	for _, s := range c {
		s.join = strings.Join(addrs, ",")
		s.start(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	admin := client.New(addrs...)
	defer admin.Close()
	require.Eventually(t, func() bool { // each knows three that vote: any two can go on
		return !slices.ContainsFunc(c[:], func(s *server) bool {
			state, err := admin.State(ctx, s.addr, false)
			return err != nil || voters(state) != 3
		})
	}, patience, 10*time.Millisecond)
	return c
}

func voters(state *api.State) (n int) {
	for _, m := range state.Members {
		if m.Role == "Voter" {
			n++
		}
	}
	return n
}

func (c cluster) addrs() (addrs []string) {
	for _, s := range c {
		addrs = append(addrs, s.addr)
	}
	return addrs
}

// leader waits until a server leads.
func (c cluster) leader(t *testing.T) (leader *server) {
	t.Helper()
	admin := client.New(c.addrs()...)
	defer admin.Close()
	require.Eventually(t, func() bool {
		for _, s := range c {
			if state, err := admin.State(t.Context(), s.addr, false); err == nil && state.Role == "Leader" {
				leader = s
			}
		}
		return leader != nil
	}, patience, 10*time.Millisecond)
	return leader
}

func TestIDsAreUniqueAndInOrderAcrossKills(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	c := startCluster(t)
	l := startLoad(t, client.Options{}, c.addrs()...)
	const some = 500
	l.await(some)
	for range 2 {
		leader := c.leader(t)
		kill(leader.cmd)
		l.await(some)
		leader.start(t)
		l.await(some)
	}
	for range 2 {
		kill(c[0].cmd, c[1].cmd, c[2].cmd)
		for _, s := range c {
			s.start(t)
		}
		l.await(some)
	}
	l.check()
}
