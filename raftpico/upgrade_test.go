package raftpico_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// sum1 and sum2 are two builds of a machine. The new one counts the additions, and refuses zero.
type sum1 struct{ Sum int }

func (s *sum1) Version() int { return 1 }

func (s *sum1) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		s.Sum += add
	}
	return s.Sum, nil
}

type sum2 struct {
	Sum  int
	Adds int `json:",omitzero"`
}

func (s *sum2) Version() int { return 2 }

func (s *sum2) Apply(ctx *machine.Context, add int) (any, error) {
	switch {
	case ctx.Version >= 2 && add == 0 && ctx.Kind == machine.Command:
		return nil, errors.New("nothing to add")
	case ctx.Kind == machine.Command:
		s.Sum += add
		if ctx.Version >= 2 {
			s.Adds++
		}
	}
	return s.Sum, nil
}

// A rolling upgrade: servers are replaced one by one, and the new behaviour begins on all at once. Then there is no
// way back.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	var network memnet.Network
	dir := t.TempDir()
	start := func(i int, m machine.Machine) (*raftpico.Server, error) {
		addr := fmt.Sprintf("server-%d:1", i)
		listener, err := network.Listen(addr)
		require.NoError(t, err)
		return raftpico.Start(m, raftpico.Options{Addr: addr, File: filepath.Join(dir, addr), Listener: listener, Dial: network.Dialer(addr), Logger: quiet})
	}
	servers := make([]*raftpico.Server, 3)
	t.Cleanup(func() {
		for _, s := range servers {
			_ = s.Close()
		}
	})
	var err error
	for i := range servers {
		servers[i], err = start(i, machine.JSON(&sum1{}))
		require.NoError(t, err)
	}
	joinAll(t, servers, calm)
	versions := func(s *raftpico.Server) [2]int {
		state, err := s.State(t.Context(), false)
		require.NoError(t, err)
		return [2]int{state.MachineVersion, state.ActiveVersion}
	}

	for i := range servers {
		applies(t, servers[(i+1)%3], 0) // both builds take it as long as one is old
		require.NoError(t, servers[i].Close())
		servers[i], err = start(i, machine.JSON(&sum2{}))
		require.NoError(t, err)
		if i < 2 {
			waitFor(t, func() bool { return voters(t, servers[i]) == 3 && versions(servers[i]) == [2]int{2, 1} })
		}
	}
	for _, s := range servers {
		waitFor(t, func() bool { return versions(s) == [2]int{2, 2} })
	}
	err = decided(func() error { _, err := servers[0].Apply(t.Context(), machine.Command, 0); return err })
	require.ErrorIs(t, err, raftpico.ErrInvalidInput)
	applies(t, servers[0], 5)
	settles(t, func() error { _, err := servers[2].TakeSnapshot(t.Context()); return err })
	state := whole(t, servers[2])
	require.JSONEq(t, `{"Sum":5,"Adds":1}`, string(state.Machines.User))
	for _, m := range state.Members {
		require.Equal(t, 2, m.MachineVersion)
	}

	require.NoError(t, servers[2].Close())
	_, err = start(2, machine.JSON(&sum1{}))
	require.ErrorContains(t, err, "this server's machine is version 1, the cluster's is 2: start it with the new build")

	old, err := start(3, machine.JSON(&sum1{}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = old.Close() })
	err = decided(func() error { _, err := servers[0].AddServer(t.Context(), old.Addr()); return err })
	require.ErrorIs(t, err, raftpico.ErrUnreachable)
	require.ErrorContains(t, err, "its machine is version 1, the cluster's is 2")
}

// A new cluster has its first machine's version at once.
func TestANewClusterHasItsMachinesVersion(t *testing.T) {
	t.Parallel()
	servers := startStill(t, 2, func() machine.Machine { return machine.JSON(&sum2{}) })
	_, err := servers[1].Apply(t.Context(), machine.Command, 0)
	require.ErrorIs(t, err, raftpico.ErrInvalidInput)
}
