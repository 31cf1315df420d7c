package raftpico_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// anything takes any input and keeps the last.
type anything struct{ Last json.RawMessage }

func (a *anything) Apply(ctx *machine.Context, in json.RawMessage) (any, error) {
	if ctx.Kind == machine.Command {
		a.Last = in
	}
	return nil, nil
}

// TestWhatAClientMaySayServersCanPassOn: an input is nested deeper in a message between servers than in the client's
// line. What was accepted once must never be refused there: the entry would be in the way for ever.
func TestWhatAClientMaySayServersCanPassOn(t *testing.T) {
	t.Parallel()
	servers := []*raftpico.Server{startServer(t, machine.JSON(&anything{}), nil), startServer(t, machine.JSON(&anything{}), nil)}
	joinAll(t, servers, still)
	client, err := jsonrpc.Dial(t.Context(), servers[1].Addr())
	require.NoError(t, err)
	defer client.Close()
	accepted := 0
	for depth := jsonrpc.MaxDepth - 10; depth <= jsonrpc.MaxDepth+1; depth++ {
		input := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		_, overWire := client.CallRaw(t.Context(), "Apply", json.RawMessage(`{"kind":"Command","input":`+input+`}`))
		_, inProcess := servers[0].Apply(t.Context(), machine.Command, json.RawMessage(input))
		require.Equal(t, overWire == nil, inProcess == nil, "depth %d: %v, %v", depth, overWire, inProcess)
		if inProcess == nil {
			accepted++
		}
	}
	require.Equal(t, 9, accepted, "up to two levels below MaxDepth")
	_, err = servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err, "the cluster goes on")
}

// TestNewClusterIsNobodysToTake: a server that has just created its cluster must say so at once.
func TestNewClusterIsNobodysToTake(t *testing.T) {
	t.Parallel()
	a, b := startServer(t, machine.JSON(&counter{}), nil), startServer(t, machine.JSON(&counter{}), nil)
	for _, s := range []*raftpico.Server{a, b} {
		_, err := s.CreateCluster(t.Context(), fast)
		require.NoError(t, err)
	}
	_, err := a.AddServer(t.Context(), b.Addr())
	require.ErrorIs(t, err, raftpico.ErrUnreachable)
	require.ErrorContains(t, err, "another cluster")
}

// shy can't be snapshotted at first.
type shy struct {
	counter
	refusals int
	panics   bool
}

func (s *shy) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	var add int
	if err := json.Unmarshal(input, &add); err != nil {
		return nil, err
	}
	return s.counter.Apply(ctx, add)
}

func (s *shy) Snapshot() (json.RawMessage, error) {
	if s.refusals > 0 && s.Value > 0 {
		s.refusals--
		if s.panics {
			panic("not now")
		}
		return nil, errors.New("not now")
	}
	return json.RawMessage(fmt.Sprint(s.Value)), nil
}

func (s *shy) Restore(snapshot json.RawMessage) error { return json.Unmarshal(snapshot, &s.Value) }

// TestSnapshotThatFailsIsMadeLater: the server goes on, and the joiner waits.
func TestSnapshotThatFailsIsMadeLater(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		a, b := startServer(t, &shy{refusals: 2, panics: panics}, nil), startServer(t, &shy{}, nil)
		_, err := a.CreateCluster(t.Context(), still)
		require.NoError(t, err)
		_, err = a.Apply(t.Context(), machine.Command, 7)
		require.NoError(t, err)
		_, err = a.AddServer(t.Context(), b.Addr())
		require.NoError(t, err)
		_, err = a.Apply(t.Context(), machine.Command, 1)
		require.NoError(t, err)
		waitFor(t, func() bool { return voters(t, b) == 2 })
		out, err := b.Apply(t.Context(), machine.Query, 0)
		require.NoError(t, err)
		require.Equal(t, "8", string(out))
	}
}

// TestCloseDoesNotWaitForTicks: with long election timeouts the ticks are far apart.
func TestCloseDoesNotWaitForTicks(t *testing.T) {
	t.Parallel()
	a, b := startServer(t, machine.JSON(&counter{}), nil), startServer(t, machine.JSON(&counter{}), nil)
	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{Min: time.Hour, Max: time.Hour})
	require.NoError(t, err)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	_, err = a.Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }() // ends with Close
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("Close still waits after 20 s")
	}
}
