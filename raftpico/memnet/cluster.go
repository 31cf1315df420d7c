package memnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// T is what a cluster needs of a test; a *testing.T is one.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	Output() io.Writer
}

// Cluster is servers in one process, in memory alone, that have formed a cluster. The methods of its Network separate
// them by their addresses ([raftpico.Server.Addr]).
type Cluster struct {
	Network
	Servers []*raftpico.Server

	t T
}

// election is the election timeout of clusters made here: long enough for busy machines, short enough for tests.
const election = 500 * time.Millisecond

// patience bounds how long a cluster may need for what takes it a moment.
const patience = 30 * time.Second

// Start starts n servers, each of a machine of its own, and makes them a cluster: when it returns, all are voters. It
// ends the test if it can't. The servers log to the test's output, and are closed when the test ends. They have no
// files, so one that is closed earlier can't come back.
func Start(t T, n int, newMachine func() machine.Machine) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	for i := range n {
		addr := fmt.Sprintf("server-%d:4000", i+1)
		listener, err := c.Listen(addr)
		if err != nil {
			t.Fatalf("memnet: %v", err)
		}
		s, err := raftpico.Start(newMachine(), raftpico.Options{
			Addr: addr, InMemory: true, Listener: listener, Dial: c.Dialer(addr), Logger: logger})
		if err != nil {
			t.Fatalf("memnet: %v", err)
		}
		t.Cleanup(func() { _ = s.Close() })
		c.Servers = append(c.Servers, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.Servers[0].CreateCluster(ctx, raftpico.Timeouts{Min: election, Max: 2 * election}); err != nil {
		t.Fatalf("memnet: create a cluster: %v", err)
	}
	for _, s := range c.Servers[1:] {
		c.add(ctx, s.Addr())
	}
	c.await("vote of each server", func(states []*raftpico.State) bool {
		for _, s := range states {
			voters := 0
			for _, m := range s.Members {
				if m.Role == "Voter" {
					voters++
				}
			}
			if voters != n {
				return false
			}
		}
		return true
	})
	return c
}

// add adds a server. On a busy machine leadership may change hands meanwhile: then it is asked for again.
func (c *Cluster) add(ctx context.Context, addr string) {
	c.t.Helper()
	for {
		_, err := c.Servers[0].AddServer(ctx, addr)
		switch {
		case err == nil, errors.Is(err, raftpico.ErrServerExists):
			return
		case ctx.Err() != nil:
			c.t.Fatalf("memnet: add %s: %v", addr, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Leader waits until a server leads that a majority can be reached from and follows, and returns it. It ends the test
// if there is none in 30 s.
func (c *Cluster) Leader() *raftpico.Server {
	c.t.Helper()
	var leader *raftpico.Server
	c.await("leader that a majority follows", func(states []*raftpico.State) bool {
		for i, s := range states {
			if s.Role == "Leader" && 2*c.followers(s, states) > len(states) {
				leader = c.Servers[i]
				return true
			}
		}
		return false
	})
	return leader
}

// followers counts who follows a leader, itself included.
func (c *Cluster) followers(leader *raftpico.State, states []*raftpico.State) (n int) {
	for _, s := range states {
		if s.Term == leader.Term && s.Leader == leader.Addr && c.Connected(s.Addr, leader.Addr) {
			n++
		}
	}
	return n
}

// await waits until the servers' states satisfy done. A server that has ended has an empty one.
func (c *Cluster) await(what string, done func([]*raftpico.State) bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		states := make([]*raftpico.State, len(c.Servers))
		for i, s := range c.Servers {
			var err error
			if states[i], err = s.State(context.Background(), false); err != nil {
				states[i] = new(raftpico.State)
			}
		}
		if done(states) {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("memnet: no %s in %v", what, patience)
		}
	}
}
