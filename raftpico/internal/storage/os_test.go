package storage_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
)

func TestFileIsItsOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file modes")
	}
	name := filepath.Join(t.TempDir(), "log.jsonl")
	log, _, err := storage.Open(storage.OS, name, "a1")
	require.NoError(t, err)
	defer log.Close()
	require.NoError(t, log.Append(founding()))
	for range 2 {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm())
		require.EqualValues(t, info.Size(), log.Size())
		require.NoError(t, log.Replace(founding()))
	}
	_, err = os.Stat(name + ".new")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A handle opened before a replacement and locked after the owner is gone leads to a file that no name leads to.
func TestReplacedFileCannotBeLocked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log.jsonl")
	log, _, err := storage.Open(storage.OS, name, "a1")
	require.NoError(t, err)
	stale, err := storage.OS.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	defer stale.Close()
	require.NoError(t, log.Append(founding()))
	require.NoError(t, log.Replace(founding()))
	require.NoError(t, log.Close())
	require.ErrorIs(t, stale.Lock(), storage.ErrLocked)
}

func TestInspectReadsBesideARunningServer(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log.jsonl")
	log, _, err := storage.Open(storage.OS, name, "a1")
	require.NoError(t, err)
	defer log.Close()
	require.NoError(t, log.Append(founding()))
	report, err := storage.Inspect(storage.OS, name, func(*storage.Line) error { return nil })
	require.NoError(t, err)
	require.Equal(t, storage.Report{Lines: 2, End: log.Size()}, report)
}

func TestInspectOfNoFile(t *testing.T) {
	_, err := storage.Inspect(storage.OS, filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLinkedCopyOfAFileIsNotFreed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log.jsonl")
	log := longLog(t, name)
	before, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.Link(name, name+".copy"))
	require.NoError(t, commit(log, successorOf(t, log)))
	after, err := os.ReadFile(name + ".copy")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
	require.NoError(t, log.Close())
}

// longLog is a log whose file is worth freeing in steps.
func longLog(t *testing.T, name string) *storage.Log {
	log, _, err := storage.Open(storage.OS, name, "k3x9")
	require.NoError(t, err)
	for _, r := range story() {
		require.NoError(t, log.Append(r))
	}
	require.NoError(t, withState(log, inPieces(stateOfSize(largeState), piece)))
	for i := range uint64(5) {
		require.NoError(t, log.Append(late(i)))
	}
	return log
}

func TestFreeingGivesTheRoomBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no holes here")
	}
	name := filepath.Join(t.TempDir(), "log.jsonl")
	log := longLog(t, name)
	handle, err := os.Open(name)
	require.NoError(t, err)
	defer handle.Close()
	r := successorOf(t, log)
	require.NoError(t, commit(log, r))
	first := make([]byte, 100)
	_, err = handle.ReadAt(first, 0)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 100), first)
	require.NoError(t, log.Close())
}
