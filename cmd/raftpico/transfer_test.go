package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

func TestTransfer(t *testing.T) {
	a, b := startServer(t, filepath.Join(t.TempDir(), "a")), startServer(t, filepath.Join(t.TempDir(), "b"))
	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = a.AddNonvoter(t.Context(), b.Addr())
	require.NoError(t, err)
	_, stderr, status := shell("", "transfer", a.Addr(), "--to", b.Addr())
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "no voter has that address")
	_, err = a.SetVoter(t.Context(), b.Addr(), true)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // it gets its vote when it has caught up
		_, stderr, status = shell("", "transfer", b.Addr(), "--to", b.Addr())
		return status == 0
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, b.Addr()+" leads\n", stderr)
	require.Eventually(t, func() bool { return a.Leader() == b.Addr() }, 20*time.Second, 10*time.Millisecond)
	_, stderr, status = shell("", "transfer", a.Addr(), b.Addr(), "--to", a.Addr())
	require.Zero(t, status, stderr)

	_, stderr, status = shell("", "transfer", nobody(t), "--to", b.Addr(), "--timeout", "50ms")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "connection refused")
	for _, line := range [][]string{{}, {a.Addr()}, {a.Addr(), "--to", "nowhere"}, {a.Addr(), "--to", b.Addr(), "--timeout", "0s"}} {
		_, stderr, status = shell("", append([]string{"transfer"}, line...)...)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, "usage:")
	}
}
