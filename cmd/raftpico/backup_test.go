package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// backedUpServer is a server with a state, and its backup in a file.
func backedUpServer(t *testing.T) (s *raftpico.Server, file string) {
	s = startServer(t, filepath.Join(t.TempDir(), "a"))
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = s.Apply(t.Context(), machine.Command, 42)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "backup")
	_, stderr, status := shell("", "backup", s.Addr(), "-o", file)
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "as of entry")
	return s, file
}

func TestBackupAndRestore(t *testing.T) {
	s, file := backedUpServer(t)
	stdout, stderr, status := shell("", "backup", s.Addr(), "--last")
	require.Zero(t, status, stderr)
	require.Equal(t, 4, strings.Count(stdout, "\n"))

	dir := t.TempDir()
	for i, from := range []struct{ stdin, name string }{{"", file}, {stdout, "-"}} {
		new := filepath.Join(dir, string(rune('a'+i)))
		out := succeed(t, from.stdin, "restore", from.name, new, "--addr", ":4711")
		require.Contains(t, out, "the first server of the new cluster")
		require.Contains(t, out, "127.0.0.1:4711")
		r := startServer(t, new)
		require.NoError(t, r.Ready(t.Context()))
		value, err := r.Apply(t.Context(), machine.Query, 0)
		require.NoError(t, err)
		require.Equal(t, "42", string(value))
	}
	require.Contains(t, succeed(t, "", "restore", file, "--verify"), "good: a backup of cluster")
}

func TestBackupOverwritesNothingAndLeavesNothingBroken(t *testing.T) {
	s, file := backedUpServer(t)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	_, stderr, status := shell("", "backup", s.Addr(), "-o", file)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "already exists")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, content, after)

	lone := startServer(t, filepath.Join(t.TempDir(), "b"))
	none := filepath.Join(t.TempDir(), "none")
	_, stderr, status = shell("", "backup", lone.Addr(), "-o", none)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "Not a cluster member")
	entries, err := os.ReadDir(filepath.Dir(none))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestRestoreRefusesABrokenBackup(t *testing.T) {
	_, file := backedUpServer(t)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	dir := t.TempDir()
	new := filepath.Join(dir, "new")
	for _, broken := range [][]byte{content[:len(content)/2], bytes.Replace(content, []byte("42"), []byte("43"), 1), nil} {
		for _, args := range [][]string{{"restore", "-", new, "--addr", "127.0.0.1:1"}, {"restore", "-", "--verify"}} {
			_, stderr, status := shell(string(broken), args...)
			require.Equal(t, 1, status)
			require.Contains(t, stderr, "the backup can't be used: line")
		}
	}
	_, stderr, status := shell("", "restore", file, new)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "--addr is missing")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A server that answers with something else, or breaks off, makes no backup.
func TestBackupFromAServerThatBreaksOff(t *testing.T) {
	for what, answer := range map[string]func(string) string{
		"another piece": func(line string) string {
			if strings.Contains(line, "BeginBackup") {
				return `{"jsonrpc":"2.0","id":0,"result":{"bytes":7}}` + "\n"
			}
			return `{"jsonrpc":"2.0","id":0,"result":{"offset":9,"data":"","end":true}}` + "\n"
		},
		"no pieces for ever": func(line string) string { return `{"jsonrpc":"2.0","id":0,"result":{"offset":0,"data":""}}` + "\n" },
		"the end at once": func(line string) string {
			return `{"jsonrpc":"2.0","id":0,"result":{"offset":0,"data":"","end":true}}` + "\n"
		},
		"closed": func(line string) string {
			if strings.Contains(line, "BeginBackup") {
				return `{"jsonrpc":"2.0","id":0,"result":{"bytes":7}}` + "\n"
			}
			return "close"
		},
		"no such method": func(line string) string {
			return `{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"Method not found"}}` + "\n"
		},
	} {
		file := filepath.Join(t.TempDir(), "backup")
		_, stderr, status := shell("", "backup", serve(t, answer), "-o", file)
		require.Equal(t, 1, status, what)
		require.NotEmpty(t, stderr)
		entries, err := os.ReadDir(filepath.Dir(file))
		require.NoError(t, err)
		require.Empty(t, entries, what)
	}
}
