package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

func TestRecoverAsksFirst(t *testing.T) {
	dir := t.TempDir()
	a, b := startServer(t, filepath.Join(dir, "a")), startServer(t, filepath.Join(dir, "b"))
	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	_, err = a.Apply(t.Context(), machine.Command, 42)
	require.NoError(t, err)
	require.NoError(t, b.Ready(t.Context()))            // it may not have heard yet that it was added
	seen, err := b.Apply(t.Context(), machine.Query, 0) // it may be no voter yet, so that a needs it for nothing
	require.NoError(t, err)
	require.Equal(t, "42", string(seen))
	require.NoError(t, b.Close())
	file := filepath.Join(dir, "b")
	before, err := os.ReadFile(file)
	require.NoError(t, err)

	stdout, stderr, status := shell("", "recover", file)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "nothing was changed")
	for _, word := range []string{b.Addr(), "were " + a.Addr(), "for certain", "would be lost", "--" + acceptLoss, file + ".before-recovery"} {
		require.Contains(t, stdout, word)
	}
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after)

	stdout = succeed(t, "", "recover", file, filepath.Join(dir, "a"))
	require.Contains(t, stdout, "Take ", "one is still in use, and may be looked at")
	_, stderr, status = shell("", "recover", "--"+acceptLoss, file, file)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "is for one FILE")
	_, stderr, status = shell("", "recover", "--"+acceptLoss, filepath.Join(dir, "a"))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "in use by another server")
	require.NoError(t, a.Close())

	stdout = succeed(t, "", "recover", file, "--addr", ":4711", "--"+acceptLoss)
	require.Contains(t, stdout, "What to do next")
	require.Contains(t, stdout, "at 127.0.0.1:4711")
	kept, err := os.ReadFile(file + ".before-recovery")
	require.NoError(t, err)
	require.Equal(t, before, kept)
	r := startServer(t, file)
	require.NoError(t, r.Ready(t.Context()))
	value, err := r.Apply(t.Context(), machine.Query, 0)
	require.NoError(t, err)
	require.Equal(t, "42", string(value))

	_, stderr, status = shell("", "recover", file, filepath.Join(dir, "a"))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "different clusters")
	_, stderr, status = shell("", "recover")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "FILE is missing")
}
