package raftpico_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// charge panics where it is told to.
type charge struct{}

func (charge) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	if string(input) == `"panic"` {
		deepInside("Apply")
	}
	return nil, nil
}

func (charge) Validate(input json.RawMessage) error {
	if string(input) == `"invalid"` {
		deepInside("Validate")
	}
	return nil
}

func (charge) Snapshot() (json.RawMessage, error) { deepInside("Snapshot"); return nil, nil }
func (charge) Restore(json.RawMessage) error      { return nil }

func deepInside(where string) { panic("boom\nin " + where) }

// logged is a log that is written on another goroutine.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestPanicOfAMachineShowsItsStack: in the log always, in the error if it ends the server, and never to clients.
func TestPanicOfAMachineShowsItsStack(t *testing.T) {
	t.Parallel()
	log := new(logged)
	s, err := raftpico.Start(charge{}, raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	_, err = s.CreateCluster(t.Context(), fast)
	require.Error(t, err) // it can't be encoded
	require.NotContains(t, err.Error(), "deepInside")
	require.NotContains(t, err.Error(), "\n")
	waitFor(t, func() bool { return strings.Contains(log.String(), "deepInside") })
	require.ErrorContains(t, s.Close(), "deepInside")

	log = new(logged)
	s, err = raftpico.Start(struct {
		machine.Machine
		machine.Validator
	}{machine.JSON(&fuse{}), charge{}}, raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	_, err = s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	for _, c := range []struct {
		kind  machine.Kind
		input string
	}{{machine.Query, "panic"}, {machine.LocalQuery, "panic"}, {machine.Command, "invalid"}, {machine.Command, "panic"}} {
		before := strings.Count(log.String(), "deepInside")
		_, err = s.Apply(t.Context(), c.kind, c.input)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "deepInside")
		require.NotContains(t, err.Error(), "\n")
		waitFor(t, func() bool { return strings.Count(log.String(), "deepInside") > before })
	}
	err = s.Wait()
	require.ErrorContains(t, err, `input "panic": boom in Apply`)
	require.ErrorContains(t, err, "deepInside")
}

// fuse is a charge with a state.
type fuse struct{ Nothing int }

func (*fuse) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	return charge{}.Apply(ctx, input)
}
