package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// A backup that is ended by a signal, as by a supervisor, or whose server hangs, leaves nothing. What a killed one has left is
// named, with what to do.
func TestABackupThatEndsEarlyLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	hangs := serve(t, func(string) string { return "" })
	signalled := serve(t, func(string) string {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(syscall.SIGTERM)
		}
		if err != nil {
			t.Error(err)
		}
		return ""
	})
	nothing := func(addr, reason string) {
		t.Helper()
		_, stderr, status := shell("", "backup", addr, "-o", file)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, reason)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	nothing(signalled, "canceled")
	before := beginTimeout
	defer func() { beginTimeout = before }()
	beginTimeout = 10 * time.Millisecond
	nothing(hangs, "has not answered BeginBackup for 10ms")

	require.NoError(t, os.WriteFile(file+".part", []byte("half"), 0o600))
	_, stderr, status := shell("", "backup", hangs, "-o", file)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, file+".part is there already")
	left, err := os.ReadFile(file + ".part")
	require.NoError(t, err)
	require.Equal(t, "half", string(left))
}

// Some file systems have no hard links. A backup is written there too, and replaces nothing.
func TestABackupNeedsNoHardLinks(t *testing.T) {
	s, _ := backedUpServer(t)
	before := hardLink
	defer func() { hardLink = before }()
	hardLink = func(string, string) error { return syscall.EPERM }
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	_, stderr, status := shell("", "backup", s.Addr(), "-o", file)
	require.Zero(t, status, stderr)
	require.Contains(t, succeed(t, "", "restore", file, "--verify"), "good: ")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	hardLink = func(_, file string) error { // somebody else is faster
		require.NoError(t, os.WriteFile(file, []byte("mine"), 0o600))
		return syscall.EPERM
	}
	other := filepath.Join(dir, "other")
	_, stderr, status = shell("", "backup", s.Addr(), "-o", other)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "exists")
	mine, err := os.ReadFile(other)
	require.NoError(t, err)
	require.Equal(t, "mine", string(mine))
}

// Of several files, one that can't be used is named, and the others are compared all the same.
func TestRecoverComparesWhatCanBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "good")
	s := startServer(t, file)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	require.NoError(t, s.Close())
	bad, none, lone := filepath.Join(dir, "bad"), filepath.Join(dir, "none"), filepath.Join(dir, "lone")
	require.NoError(t, os.WriteFile(bad, []byte("hello\n"), 0o600))
	require.NoError(t, startServer(t, lone).Close())
	stdout, stderr, status := shell("", "recover", bad, file, none, lone)
	require.Equal(t, 1, status)
	require.Contains(t, stdout, "Take "+file)
	for _, unusable := range []string{bad, none, lone} {
		require.Equal(t, 1, strings.Count(stderr, unusable+" can't be used"), stderr)
		require.NotContains(t, stdout, unusable)
	}
	_, stderr, status = shell("", "recover", bad, lone)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, lone+" can't be used")
}
