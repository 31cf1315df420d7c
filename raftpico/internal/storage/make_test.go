package storage_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// fillNew writes a whole log of a cluster of one.
func fillNew(to *storage.Replacement) error {
	if err := to.Write(&wire.Record{Identity: &wire.Identity{ClusterID: "c", Key: "k", NodeID: 1}}); err != nil {
		return err
	}
	snapshot := &wire.Snapshot{LastIncluded: wire.EntryID{Term: 2, Index: 7}, Voters: []uint64{1}, Learners: []uint64{}, Machines: wire.Machines{System: []byte(`{}`)}}
	err := to.WriteSnapshot(snapshot, func(w io.Writer) error { _, err := io.WriteString(w, `{"a":1}`); return err })
	if err == nil {
		err = to.Write(&wire.Record{HardState: &wire.HardState{Term: 2, Commit: 7}})
	}
	return err
}

// A log that is made is there as a whole, or not at all, whichever call of the file system fails.
func TestMakeLeavesAWholeLogOrNone(t *testing.T) {
	broken := errors.New("input/output error")
	for _, op := range []memfs.Op{memfs.Open, memfs.Write, memfs.Sync, memfs.SyncDir} {
		failed := 0
		for n := 1; ; n++ {
			fsys := memfs.New()
			fsys.Fail(op, n, broken)
			err := storage.Make(fsys, "log", "instance", fillNew)
			fsys.Fail(op, 0, nil)
			_, missing := fsys.ReadFile("log")
			if err == nil {
				require.NoError(t, missing)
				break
			}
			require.ErrorIs(t, err, broken)
			require.Error(t, missing, "op %d, call %d", op, n)
			failed++
		}
		require.Positive(t, failed, "op %d", op)
	}
	fsys := memfs.New()
	require.ErrorIs(t, storage.Make(fsys, "log", "instance", func(*storage.Replacement) error { return broken }), broken)
	require.ErrorContains(t, storage.Make(fsys, "log", "instance", func(to *storage.Replacement) error {
		return to.Write(&wire.Record{HardState: &wire.HardState{Term: 2, Commit: 7}})
	}), "above the last entry")
	fsys.WriteFile("log", []byte("mine"))
	require.Error(t, storage.Make(fsys, "log", "instance", fillNew))
	mine, err := fsys.ReadFile("log")
	require.NoError(t, err)
	require.Equal(t, "mine", string(mine))
}

// Reading a log changes nothing, tells what opening it would, and keeps nobody from it unless asked to.
func TestReadTellsWhatOpenWould(t *testing.T) {
	fsys := memfs.New()
	require.NoError(t, storage.Make(fsys, "log", "instance", fillNew))
	whole, err := fsys.ReadFile("log")
	require.NoError(t, err)
	fsys.WriteFile("log", append(whole, `{"HardState":{"te`...))
	before, _ := fsys.ReadFile("log")

	r, read, err := storage.Read(fsys, "log")
	require.NoError(t, err)
	state, err := r.OpenState()
	require.NoError(t, err)
	user, err := io.ReadAll(state)
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(user))
	require.NoError(t, state.Close())
	after, _ := fsys.ReadFile("log")
	require.Equal(t, before, after)

	log, opened, err := storage.Open(fsys, "log", "other")
	require.NoError(t, err, "a reader locks nobody out")
	require.Equal(t, read, opened)
	_, _, err = storage.ReadAlone(fsys, "log")
	require.ErrorIs(t, err, storage.ErrLocked)
	_, _, err = storage.Read(fsys, "log")
	require.NoError(t, err)
	require.NoError(t, log.Close())
	alone, _, err := storage.ReadAlone(fsys, "log")
	require.NoError(t, err)
	_, _, err = storage.Open(fsys, "log", "other")
	require.ErrorIs(t, err, storage.ErrLocked)
	require.NoError(t, alone.Close())
	require.NoError(t, r.Close())

	fsys.WriteFile("bad", []byte(strings.Replace(string(whole), `"a":1`, `"a":2`, 1)))
	_, _, err = storage.Read(fsys, "bad")
	var damage *storage.DamageError
	require.ErrorAs(t, err, &damage)
	fsys.WriteFile("empty", nil)
	_, _, err = storage.Read(fsys, "empty")
	require.ErrorIs(t, err, storage.ErrFormat)
}
