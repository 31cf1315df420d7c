package raftpico_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// stuck is what nobody reads, like the pipe of a pager that was stopped.
type stuck struct{ until <-chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.until
	return len(p), nil
}

// TestBlockedLogStopsNoServer: a server starts, serves and ends while its logger blocks.
func TestBlockedLogStopsNoServer(t *testing.T) {
	t.Parallel()
	until := make(chan struct{})
	defer close(until)
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.Logger = slog.New(slog.NewTextHandler(stuck{until}, nil)) })
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	out, err := s.Apply(t.Context(), machine.Command, 2)
	require.NoError(t, err)
	require.Equal(t, "2", string(out))
	require.NoError(t, s.Close())
}
