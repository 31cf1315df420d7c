package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
)

// smallDisk is a folder with a file system of its own, of so many KiB. Only root can make one.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", size)); err != nil {
		t.Skipf("no small disk can be mounted: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// oneServer starts a server that is a cluster of its own.
func oneServer(t *testing.T, file string) *server {
	t.Helper()
	s := &server{addr: ports.Free(t, 1)[0], file: file}
	s.start(t)
	require.NoError(t, call(s.addr, "CreateCluster", nil, nil))
	return s
}

// fillUp puts values until the server takes no more.
func fillUp(t *testing.T, s *server, size int) {
	t.Helper()
	for i := range 1000 {
		put := map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{fmt.Sprint(i % 2), strings.Repeat("x", size)}}}
		if call(s.addr, "Apply", put, nil) != nil {
			return
		}
	}
	require.Fail(t, "the disk does not become full")
}

// ended checks that a server has ended, and has said what to do, once.
func ended(t *testing.T, p *process, what ...string) {
	t.Helper()
	require.Equal(t, 1, p.wait(t))
	logged := 0
	for line := range strings.Lines(p.stderr()) {
		if !strings.Contains(line, what[0]) {
			continue
		}
		logged++
		for _, part := range what {
			require.Contains(t, line, part)
		}
	}
	require.GreaterOrEqual(t, logged, 1, p.stderr())
	require.LessOrEqual(t, logged, 2, "in the log, and as the program's last word: %s", p.stderr())
}

// What is wrong with the disk is said once, with what to do.
func TestFaultsOfTheDiskSayWhatToDo(t *testing.T) {
	t.Run("full", func(t *testing.T) {
		dir := smallDisk(t, 256)
		s := oneServer(t, filepath.Join(dir, "log.jsonl"))
		fillUp(t, s, 10_000)
		ended(t, s.process, "the disk is full", "no space left on device", "make room there, and start the server again")

		require.NoError(t, os.RemoveAll(s.file+".new"))
		require.NoError(t, syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, "size=2m"))
		s.start(t) // as it was told
		require.NoError(t, call(s.addr, "Apply", map[string]any{"kind": "Query", "input": "List"}, nil))
	})
	t.Run("full for a snapshot", func(t *testing.T) {
		s := oneServer(t, filepath.Join(smallDisk(t, 256), "log.jsonl"))
		for i := range 15 {
			put := map[string]any{"kind": "Command", "input": map[string]any{"Put": []any{fmt.Sprint(i), strings.Repeat("x", 10_000)}}}
			require.NoError(t, call(s.addr, "Apply", put, nil))
		}
		for range 3 {
			require.ErrorContains(t, call(s.addr, "TakeSnapshot", nil, nil), "no snapshot")
		}
		require.NoError(t, call(s.addr, "Apply", map[string]any{"kind": "Query", "input": "List"}, nil), "it goes on")
		require.Equal(t, 1, strings.Count(s.stderr(), "the disk is full"), s.stderr())
		require.Contains(t, s.stderr(), "start the server again if it has ended")
		require.Zero(t, s.stop(t))
	})
	t.Run("read-only", func(t *testing.T) {
		dir := smallDisk(t, 256)
		s := oneServer(t, filepath.Join(dir, "log.jsonl"))
		require.Zero(t, s.stop(t))
		require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		for _, file := range []string{s.file, filepath.Join(dir, "new.jsonl"), filepath.Join(dir, "folder", "new.jsonl")} {
			ended(t, launch(t, command(t, "kvs", ports.Free(t, 1)[0], file)), "the file system is read-only", file[:len(dir)+4], "mount it for writing")
		}
	})
	t.Run("a lost folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		s := oneServer(t, filepath.Join(dir, "log.jsonl"))
		require.NoError(t, os.RemoveAll(dir))
		ended(t, s.process, "was deleted, moved or replaced", "add it anew with an empty file")
	})
	t.Run("rights", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("needs root, to become somebody else")
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "log.jsonl")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		cmd := command(t, "kvs", ports.Free(t, 1)[0], file)
		require.NoError(t, os.Chmod(built, 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		ended(t, launch(t, cmd), "permission denied", "look at the owner and the rights")
	})
}

func TestFaultsOfLimitsAndAddressesSayWhatToDo(t *testing.T) {
	limited := func(files int) *exec.Cmd {
		return exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, files), "sh", filepath.Join(built, "kvs"), ports.Free(t, 1)[0], filepath.Join(t.TempDir(), "log.jsonl"))
	}
	require.NoError(t, build())
	ended(t, launch(t, limited(8)), "too many open files", "raise its limit (ulimit -n")
	few := launch(t, limited(100))
	waitFor(t, "a warning", func() bool { return strings.Contains(few.stderr(), "few connections at once") })
	require.Contains(t, few.stderr(), "connections=60 files=100")
	few.signal(t, syscall.SIGTERM)
	require.Zero(t, few.wait(t))

	l, err := net.Listen("tcp", ports.Free(t, 1)[0])
	require.NoError(t, err)
	defer l.Close()
	ended(t, launch(t, command(t, "kvs", l.Addr().String())), "address already in use", "another process listens there")
	ended(t, launch(t, command(t, "kvs", "192.0.2.1:4000")), "cannot assign requested address", "this machine has no such address")
}
