package client_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

// heard are failures that a call has told of.
type heard struct {
	mu   sync.Mutex
	errs []error
}

func (h *heard) add(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

func TestFailuresAreToldWhileACallGoesOn(t *testing.T) {
	f := startFakes(t, 1)
	f.trouble = first("Apply", trouble{err: client.ErrNoLeader})
	c := f.dial(client.Options{}, "server-9:4000", f.addrs[0])
	var h heard
	require.NoError(t, c.Apply(client.WithFailures(within(t, patience), h.add), machine.Command, 1, nil))
	require.NotEmpty(t, h.errs)
	require.ErrorIs(t, h.errs[len(h.errs)-1], client.ErrNoLeader)

	h.errs = nil
	require.NoError(t, c.Apply(client.WithFailures(within(t, patience), h.add), machine.Command, 1, nil))
	require.Empty(t, h.errs, "nothing has failed")
	f.set(func() { f.trouble = func(ask) trouble { return trouble{err: client.ErrInvalidInput} } })
	require.ErrorIs(t, c.Apply(client.WithFailures(within(t, patience), h.add), machine.Command, 1, nil), client.ErrInvalidInput)
	require.Empty(t, h.errs, "an answer is no failure")
}

func TestFailedDialsAreToldWhileNobodyIsConnected(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, "server-9:4000")
	var h heard
	started := make(chan struct{}, 100)
	ctx := client.WithFailures(within(t, patience), func(err error) {
		h.add(err)
		select {
		case started <- struct{}{}:
		default:
		}
	})
	done := make(chan error)
	go func() { done <- c.Apply(ctx, machine.Query, 1, nil) }()
	<-started
	f.start("server-9:4000")
	require.NoError(t, <-done)
	require.ErrorContains(t, h.errs[0], "server-9:4000")
}
