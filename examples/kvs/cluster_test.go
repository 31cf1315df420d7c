//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// server is a kvs process with its address and its file, which outlive it.
type server struct {
	*process
	addr, file string
	build      string // the program's file; empty: this working copy's
}

// cluster is three servers in processes of their own.
type cluster [3]*server

// startCluster starts three servers that are a cluster, each a full member.
func startCluster(t *testing.T) cluster {
	t.Helper()
	return startClusterOf(t, "")
}

// startClusterOf is startCluster with another build of kvs.
func startClusterOf(t *testing.T, build string) cluster {
	t.Helper()
	dir := t.TempDir()
	var c cluster
	for i := range c {
		c[i] = &server{addr: ports.Free(t, 1)[0], file: filepath.Join(dir, fmt.Sprintf("server-%d.jsonl", i)), build: build}
		c[i].start(t)
	}
	require.NoError(t, call(c[0].addr, "CreateCluster", nil, nil))
	for _, s := range c[1:] {
		add(t, c[0].addr, s.addr)
	}
	waitFor(t, "three full members", func() bool {
		for _, s := range c {
			if state, err := s.state(false); err != nil || voters(state) != 3 {
				return false
			}
		}
		return true
	})
	return c
}

// start starts the server, or starts it again, and waits until it answers.
func (s *server) start(t *testing.T) {
	t.Helper()
	cmd := command(t, "kvs", s.addr, s.file)
	cmd.Path = cmp.Or(s.build, cmd.Path)
	s.process = launch(t, cmd)
	waitFor(t, "an answer", func() bool {
		_, err := s.state(false)
		return err == nil || !s.running()
	})
	require.True(t, s.running(), "it has ended: %s", s.stderr())
}

// stop is SIGTERM. It returns the exit status.
func (s *server) stop(t *testing.T) int {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	return s.wait(t)
}

func (s *server) state(machines bool) (*raftpico.State, error) {
	state := new(raftpico.State)
	err := call(s.addr, "GetServerState", map[string]bool{"machines": machines}, state)
	return state, err
}

func voters(state *raftpico.State) (n int) {
	for _, m := range state.Members {
		if m.Role == "Voter" {
			n++
		}
	}
	return n
}

// call makes one call over a connection of its own.
func call(addr, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := jsonrpc.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Call(ctx, method, params, result)
}

// settles is a call that must succeed. It is made again where an election refuses it, with the promise that nothing has come
// of it: on a busy machine a leader may be lost at any time.
func settles(t *testing.T, addr, method string, params, result any) {
	t.Helper()
	var err error
	waitFor(t, method, func() bool {
		err = call(addr, method, params, result)
		return !errors.Is(err, raftpico.ErrRejected) && !errors.Is(err, raftpico.ErrNoLeader)
	})
	require.NoError(t, err, method)
}

// add has a member add a server.
func add(t *testing.T, member, addr string) {
	t.Helper()
	waitFor(t, "the server to be added", func() bool {
		err := call(member, "AddServer", map[string]string{"addr": addr}, nil)
		return err == nil || errors.Is(err, raftpico.ErrServerExists)
	})
}

func (c cluster) addrs() (addrs []string) {
	for _, s := range c {
		addrs = append(addrs, s.addr)
	}
	return addrs
}

// leader returns the server that leads, and the others. All must be running.
func (c cluster) leader(t *testing.T) (leader *server, others []*server) {
	t.Helper()
	waitFor(t, "a leader", func() bool {
		leader, others = nil, nil
		for _, s := range c {
			if state, err := s.state(false); err == nil && state.Role == "Leader" {
				leader = s
			} else {
				others = append(others, s)
			}
		}
		return leader != nil && len(others) == 2
	})
	return leader, others
}

// rejoined waits until s has applied what any server has committed by now.
func (c cluster) rejoined(t *testing.T, s *server) {
	t.Helper()
	var goal uint64
	for _, other := range c {
		if state, err := other.state(false); err == nil {
			goal = max(goal, state.CommitIndex)
		}
	}
	waitFor(t, "the server to catch up", func() bool {
		state, err := s.state(false)
		return err == nil && state.AppliedIndex >= goal && state.Leader != ""
	})
}

// settled waits until all three have applied the same log, to its end, and returns the machine, which must be the same on all.
func (c cluster) settled(t *testing.T) json.RawMessage {
	t.Helper()
	var states [3]*raftpico.State
	waitFor(t, "the servers to be level", func() bool {
		for i, s := range c {
			var err error
			if states[i], err = s.state(true); err != nil || states[i].Machines == nil || states[i].AppliedIndex != states[i].LastIndex ||
				states[i].LastIndex != states[0].LastIndex || states[i].Term != states[0].Term {
				return false
			}
		}
		return true
	})
	for _, state := range states[1:] {
		require.Equal(t, string(states[0].Machines.User), string(state.Machines.User), "the machines differ")
	}
	return json.RawMessage(states[0].Machines.User)
}
