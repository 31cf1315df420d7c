//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/raftpico"
)

// putKeys puts keys with these numbers.
func putKeys(t *testing.T, addr string, from, to int, value any) {
	t.Helper()
	for i := from; i < to; i++ {
		settles(t, addr, "Apply", map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{fmt.Sprint("key ", i), value}}}, nil)
	}
}

// countKeys asks a server how many keys there are.
func countKeys(addr string) (int, error) {
	var keys []string
	err := call(addr, "Apply", map[string]any{"kind": "Query", "input": "List"}, &keys)
	return len(keys), err
}

// hasKeys waits until a server tells of that many, or more.
func hasKeys(t *testing.T, s *server, count int) {
	t.Helper()
	waitFor(t, "the keys", func() bool { n, err := countKeys(s.addr); return err == nil && n >= count })
}

// lonely starts a server from a file, and waits until it leads its cluster of one.
func lonely(t *testing.T, addr, file string) *server {
	t.Helper()
	s := &server{addr: addr, file: file}
	s.start(t)
	waitFor(t, "it leads", func() bool { st, err := s.state(false); return err == nil && st.Role == "Leader" })
	return s
}

// grow adds a server with an empty file.
func grow(t *testing.T, to *server) *server {
	t.Helper()
	s := &server{addr: ports.Free(t, 1)[0], file: filepath.Join(t.TempDir(), "new.jsonl")}
	s.start(t)
	add(t, to.addr, s.addr)
	return s
}

// A backup is taken from a follower under load; all servers are lost; the new cluster has all that was acknowledged before
// the backup.
func TestALostClusterIsRestoredFromABackup(t *testing.T) {
	c := startCluster(t)
	_, followers := c.leader(t)
	putKeys(t, c[0].addr, 0, 50, 1)
	l := startLoad(t, c.addrs(), 8)
	l.await(100)
	dir := t.TempDir()
	backup := filepath.Join(dir, "kvs.backup")
	status, _, stderr := runToEnd(t, "raftpico", "backup", followers[0].addr, "-o", backup)
	require.Zero(t, status, stderr)
	l.await(100)
	l.stop()
	for _, s := range c {
		s.kill(t)
	}
	status, stdout, stderr := runToEnd(t, "raftpico", "restore", backup, filepath.Join(dir, "new.jsonl"), "--addr", c[0].addr)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "the first server of the new cluster")
	s := lonely(t, c[0].addr, filepath.Join(dir, "new.jsonl"))
	n, err := countKeys(s.addr)
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, 50)

	// An old server that comes back finds no way in; one with an empty file does.
	c[1].start(t)
	err = call(s.addr, "AddServer", map[string]string{"addr": c[1].addr}, nil)
	require.ErrorIs(t, err, raftpico.ErrUnreachable)
	hasKeys(t, grow(t, s), 50)
}

// A server that is killed while it gives a backup leaves none: the command fails, and nothing has the file's name.
func TestABackupFromAServerThatIsKilledIsNone(t *testing.T) {
	c := startCluster(t)
	putKeys(t, c[0].addr, 0, 40, strings.Repeat("x", 1<<20))
	cmd := command(t, "raftpico", "backup", c[1].addr)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	begun := make([]byte, 1<<20)
	_, err = io.ReadFull(out, begun)
	require.NoError(t, err)
	c[1].kill(t)
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Error(t, cmd.Wait(), "%s", stderr.String())
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, append(begun, rest...), 0o600))
	status, _, said := runToEnd(t, "raftpico", "restore", broken, broken+".jsonl", "--addr", c[1].addr)
	require.Equal(t, 1, status)
	require.Contains(t, said, "the backup can't be used: line 3: it is cut")
	require.NoFileExists(t, broken+".jsonl")
}

// Two of three are lost for ever. Of the third one's file comes a new cluster, which has all, and grows; an old server that
// turns up again can't come into it.
func TestAClusterWhoseMajorityIsLostIsRecovered(t *testing.T) {
	c := startCluster(t)
	putKeys(t, c[0].addr, 0, 100, "value")
	leader, others := c.leader(t)
	last := others[1]
	c.rejoined(t, last)
	leader.kill(t)
	others[0].kill(t)
	require.NoError(t, os.Remove(leader.file))
	last.kill(t)

	status, stdout, stderr := runToEnd(t, "raftpico", "recover", last.file)
	require.Equal(t, 1, status)
	require.Contains(t, stdout+stderr, "nothing was changed")
	status, stdout, stderr = runToEnd(t, "raftpico", "recover", last.file, others[0].file)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "Take ")
	status, stdout, stderr = runToEnd(t, "raftpico", "recover", last.file, "--"+"i-accept-that-acknowledged-commands-may-be-lost")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "What to do next")

	s := lonely(t, last.addr, last.file)
	n, err := countKeys(s.addr)
	require.NoError(t, err)
	require.Equal(t, 100, n)
	putKeys(t, s.addr, 100, 110, "more")
	others[0].start(t) // it knows last at that address
	first, second := grow(t, s), grow(t, s)
	waitFor(t, "three voters", func() bool { st, err := s.state(false); return err == nil && voters(st) == 3 })
	err = call(s.addr, "AddServer", map[string]string{"addr": others[0].addr}, nil)
	require.ErrorIs(t, err, raftpico.ErrUnreachable)
	s.kill(t) // the new ones go on without it
	hasKeys(t, first, 110)
	hasKeys(t, second, 110)
	st, err := others[0].state(false)
	require.NoError(t, err)
	require.NotEqual(t, "Leader", st.Role, "alone it is no majority")
	require.LessOrEqual(t, st.AppliedIndex, st.CommitIndex)
}
