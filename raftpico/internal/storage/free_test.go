package storage_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// content reads what a file is now, by a handle that was opened before.
func content(t *testing.T, file storage.File) []byte {
	t.Helper()
	size, err := file.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	_, err = file.ReadAt(b, 0)
	require.NoError(t, err)
	return b
}

// largeState is a state whose file is freed in some steps.
const largeState = 20 << 20

// large is a log whose file is worth freeing in steps, and a handle on that file.
func large(t *testing.T) (fsys *memfs.FS, log *storage.Log, handle storage.File) {
	t.Helper()
	fsys = memfs.New()
	log = aged(t, fsys)
	require.NoError(t, withState(log, inPieces(stateOfSize(largeState), piece)))
	for i := range uint64(5) {
		require.NoError(t, log.Append(late(i)))
	}
	handle, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	require.NoError(t, err)
	return fsys, log, handle
}

// successorOf begins a short file that takes a large one's place.
func successorOf(t *testing.T, log *storage.Log) *storage.Replacement {
	t.Helper()
	r, err := log.BeginAnew()
	require.NoError(t, err)
	for _, record := range []*wire.Record{{Identity: identity()}, {Snapshot: snapshot(4, 20), HardState: hard(4, 5, 20)}} {
		require.NoError(t, r.Write(record))
	}
	return r
}

func TestReplacedFileIsFreedWhenNobodyReadsIt(t *testing.T) {
	fsys, log, handle := large(t)
	before := content(t, handle)
	state, err := log.OpenState()
	require.NoError(t, err)
	old, err := log.Commit(successorOf(t, log))
	require.NoError(t, err)
	require.NoError(t, old.Close())
	require.True(t, bytes.Equal(before, content(t, handle)), "somebody reads the state in it")
	read, err := io.ReadAll(state)
	require.NoError(t, err)
	require.Len(t, read, largeState)
	require.NoError(t, state.Close())

	after := content(t, handle)
	require.Len(t, after, len(before))
	kept := len(after) - 64<<10
	require.Equal(t, make([]byte, kept), after[:kept], "it is freed")
	require.Equal(t, before[kept:], after[kept:], "but for its last lines")

	// Whoever was copying it meanwhile has some of it, and must not take that for a log that a crash has cut.
	for _, copied := range []int{0, 1, 100, bytes.IndexByte(before, '\n') + 1, 1 << 20, kept - 5000, kept - 1} {
		half := append(bytes.Clone(before[:copied]), after[copied:]...)
		other := memfs.New()
		other.WriteFile(path, half)
		_, _, err := storage.Open(other, path, "k3x9")
		require.Error(t, err, "%d bytes are there", copied)
	}
	now, err := fsys.ReadFile(path)
	require.NoError(t, err)
	require.Less(t, len(now), 10_000)
}

// A file whose name a crash may bring back stays whole, and so does one that may have the name already.
func TestFilesOfADeadLogAreNotFreed(t *testing.T) {
	for _, op := range []memfs.Op{memfs.Rename, memfs.SyncDir} {
		fsys, log, handle := large(t)
		before := content(t, handle)
		r := successorOf(t, log)
		fsys.Fail(op, 1, errDisk)
		old, err := log.Commit(r)
		require.ErrorIs(t, err, errDisk)
		if old != nil {
			require.NoError(t, old.Close())
		}
		require.True(t, bytes.Equal(before, content(t, handle)))

		fsys = memfs.New()
		log = aged(t, fsys)
		r, err = log.BeginReplace()
		require.NoError(t, err)
		require.NoError(t, writeWith(r, inPieces(stateOfSize(largeState), piece)))
		fsys.Fail(op, 1, errDisk)
		_, err = log.Commit(r)
		require.ErrorIs(t, err, errDisk)
		r.Drop()
		for _, name := range []string{path, path + ".new"} {
			if b, err := fsys.ReadFile(name); err == nil {
				require.False(t, bytes.Contains(b, make([]byte, 512)), name)
			}
		}
	}
}

func TestInspectSaysThatTheFileWasReplaced(t *testing.T) {
	fsys, log, _ := large(t)
	_, err := storage.Inspect(fsys, path, func(l *storage.Line) error {
		if l.Number > 1 {
			return nil
		}
		old, err := log.Commit(successorOf(t, log))
		return errors.Join(err, old.Close())
	})
	require.ErrorContains(t, err, "was replaced by a newer file")
	report, err := storage.Inspect(fsys, path, func(*storage.Line) error { return nil })
	require.NoError(t, err)
	require.NoError(t, report.Refused)
}

// Hard links are how many copy: ln, cp -al, rsync's --link-dest. The log leaves the file, and it is theirs.
func TestLinkedCopyStaysWhole(t *testing.T) {
	for _, when := range []string{"before", "while it is replaced"} {
		fsys, log, handle := large(t)
		before := content(t, handle)
		if when == "before" {
			fsys.Link(path, "/backup/log")
		}
		r := successorOf(t, log)
		if when != "before" {
			fsys.Link(path, "/backup/log")
		}
		require.NoError(t, commit(log, r))
		copied, err := fsys.ReadFile("/backup/log")
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, copied), when)
		require.NoError(t, log.Append(&wire.Record{HardState: hard(5, 0, 20)}), when)
		require.NoError(t, log.Close())
		_, _, err = storage.Open(fsys, "/backup/log", "other")
		require.NoError(t, err, when)
	}

	// So does one of a new file that is given up.
	fsys := memfs.New()
	log := aged(t, fsys)
	r, err := log.BeginReplace()
	require.NoError(t, err)
	require.NoError(t, writeWith(r, inPieces(stateOfSize(largeState), piece)))
	before, err := fsys.ReadFile(path + ".new")
	require.NoError(t, err)
	fsys.Link(path+".new", "/backup/new")
	log.Abort(r)
	after, err := fsys.ReadFile("/backup/new")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
}

// A server that ends waits for no file to be freed in steps.
func TestFreeingHurries(t *testing.T) {
	_, log, handle := large(t)
	before := content(t, handle)
	old, err := log.Commit(successorOf(t, log))
	require.NoError(t, err)
	log.Hurry()
	require.NoError(t, old.Close())
	require.True(t, bytes.Equal(before, content(t, handle)), "it is only closed")
}
