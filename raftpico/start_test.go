package raftpico_test

import (
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

func TestNilMachineIsRefused(t *testing.T) {
	t.Parallel()
	var none *counter
	var bare *counterMachine
	for _, m := range []machine.Machine{nil, machine.JSON(none), bare} {
		_, err := raftpico.Start(m, raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet})
		require.EqualError(t, err, "raftpico: start: the machine is nil")
	}
}

type counterMachine struct{ machine.Machine }

// TestAddressesHaveOneText: a member is the same, however its address is written, in process and over TCP.
func TestAddressesHaveOneText(t *testing.T) {
	t.Parallel()
	a, b := startServer(t, machine.JSON(&counter{}), nil), startServer(t, machine.JSON(&counter{}), nil)
	_, err := a.CreateCluster(t.Context(), still)
	require.NoError(t, err)
	_, err = a.AddServer(t.Context(), strings.Replace(b.Addr(), "127.0.0.1:", "[::ffff:127.0.0.1]:0", 1))
	require.NoError(t, err)
	state, err := a.State(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, b.Addr(), state.Members[1].Addr)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.ErrorIs(t, err, raftpico.ErrServerExists)
	_, err = a.AddServer(t.Context(), "\xff:80")
	require.ErrorIs(t, err, raftpico.ErrInvalidParams)
	members, err := a.RemoveServer(t.Context(), strings.Replace(b.Addr(), "127.0.0.1:", "127.0.0.1:0", 1))
	require.NoError(t, err)
	require.Equal(t, []string{a.Addr()}, members)
}

func TestInputsInProcess(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{Min: 5 * time.Second}) // Max follows
	require.NoError(t, err)
	for _, c := range []struct {
		input any
		want  error
	}{
		{"\xff", nil}, // either of the two: it is refused before it is logged
		{json.RawMessage("\"\xff\""), raftpico.ErrInvalidParams},
		{json.RawMessage(`{"a":`), raftpico.ErrInvalidParams},
		{make(chan int), raftpico.ErrUnencodable},
		{"text", raftpico.ErrInvalidInput},
	} {
		_, err := s.Apply(t.Context(), machine.Command, c.input)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "\n")
		if c.want != nil {
			require.ErrorIs(t, err, c.want)
		}
	}
	_, err = s.Apply(t.Context(), 0, 1)
	require.ErrorIs(t, err, raftpico.ErrInvalidParams)
	require.NoError(t, s.Close())
}

// TestFailedSnapshotIsShown until one succeeds.
func TestFailedSnapshotIsShown(t *testing.T) {
	t.Parallel()
	s := startServer(t, &shy{refusals: 1}, nil)
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	_, err = s.Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	_, err = s.TakeSnapshot(t.Context())
	require.Error(t, err)
	state, err := s.State(t.Context(), false)
	require.NoError(t, err)
	require.NotEmpty(t, state.Failure)
	waitFor(t, func() bool { _, err := s.TakeSnapshot(t.Context()); return err == nil })
	state, err = s.State(t.Context(), false)
	require.NoError(t, err)
	require.Empty(t, state.Failure)
}
