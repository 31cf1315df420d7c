package storage_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

func TestRoomIsNoNewsToReaders(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, fsys, 100)
	lines, room := roomOf(t, fsys, log)
	require.Positive(t, len(room))
	want := show(t, stateOf(t, log, fsys))
	for _, behind := range [][]byte{room, room[:1], room[:511], bytes.Repeat([]byte{'\t'}, 300_000)} {
		fsys := memfs.New()
		fsys.WriteFile(path, append(bytes.Clone(lines), behind...))
		report, err := storage.Inspect(fsys, path, func(l *storage.Line) error { return l.Err })
		require.NoError(t, err)
		require.Equal(t, storage.Report{Lines: 102, End: int64(len(lines))}, report)

		r, state, err := storage.Read(fsys, path)
		require.NoError(t, err)
		require.Zero(t, state.Cut)
		user, err := r.OpenState()
		require.NoError(t, err)
		state.Snapshot.Machines.User, err = io.ReadAll(user)
		require.NoError(t, err)
		require.Equal(t, want, show(t, state))
		require.NoError(t, r.Close())

		log, state := open(t, fsys)
		require.Zero(t, state.Cut)
		require.Equal(t, want, show(t, state))
		now, room := roomOf(t, fsys, log)
		require.Zero(t, len(room))
		require.Equal(t, string(lines), string(now))
		require.NoError(t, log.Close())
	}
}

// A reader of a running server's file sees each line that goes into the room, and the file grow shorter at rest.
func TestFollowSeesLinesThatGoIntoTheRoom(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, fsys, 0)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := make(chan uint64, 100)
	ended := make(chan error, 1)
	go func() { // ends when it is stopped
		ended <- storage.Follow(ctx, fsys, path, time.Microsecond, func(l *storage.Line) error {
			if l.Err == nil && l.Record.LogEntries != nil {
				seen <- l.Record.LogEntries.Entries[0].GetIndex()
			}
			return l.Err
		})
	}()
	for i := range uint64(2000) {
		goOn(t, log, 2+i, 1)
		if i%5 == 0 {
			require.Equal(t, 2+i, until(t, seen, ended, 2+i))
		}
		if i%100 < 2 {
			require.NoError(t, log.Check())
			require.NoError(t, log.Check())
		}
	}
	require.EqualValues(t, 2001, until(t, seen, ended, 2001))
	stop()
	require.NoError(t, <-ended)
}

// until waits for an index, before which its predecessors come.
func until(t *testing.T, seen chan uint64, ended chan error, last uint64) (index uint64) {
	t.Helper()
	for before := uint64(0); index < last; before = index {
		select {
		case index = <-seen:
			require.True(t, before == 0 || index == before+1)
		case err := <-ended:
			require.FailNow(t, "it has ended", err)
		case <-time.After(20 * time.Second):
			require.FailNow(t, "a line was not seen")
		}
	}
	return index
}

// A file that grows shorter while it is measured is one whose room was cut, by its server.
func TestReadersOfAFileThatComesToRest(t *testing.T) {
	for calls := 1; calls < 6; calls++ {
		disk := memfs.New()
		log := busy(t, disk, 2000)
		_, room := roomOf(t, disk, log)
		require.Greater(t, len(room), 4<<10)
		fsys := &resting{FS: disk, log: log, calls: calls}
		report, err := storage.Inspect(fsys, path, func(l *storage.Line) error { return l.Err })
		require.NoError(t, err)
		require.Equal(t, storage.Report{Lines: 2002, End: log.Size()}, report)
		_, room = roomOf(t, disk, log)
		require.Zero(t, len(room))
	}
}

// resting is a file system on which a log comes to rest before a call of a reader.
type resting struct {
	storage.FS
	log   *storage.Log
	calls int
}

func (r *resting) OpenFile(name string, flag int, perm os.FileMode) (storage.File, error) {
	file, err := r.FS.OpenFile(name, flag, perm)
	return restingFile{file, r}, err
}

type restingFile struct {
	storage.File
	r *resting
}

func (f restingFile) ReadAt(p []byte, off int64) (int, error) {
	if f.r.calls--; f.r.calls == 0 {
		_, _ = f.r.log.Check(), f.r.log.Check()
	}
	return f.File.ReadAt(p, off)
}

// A file of nothing but filler has never been a log.
func TestFillerAloneIsNoLog(t *testing.T) {
	for _, file := range []string{"\t", strings.Repeat("\t", 5000), strings.Repeat("\t", 600) + strings.Repeat("\x00", 600), `{"Header":{"fo` + strings.Repeat("\x00", 600)} {
		fsys := memfs.New()
		fsys.WriteFile(path, []byte(file))
		_, _, err := storage.Open(fsys, path, "k3x9")
		require.Error(t, err)
		now, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, file, string(now))
	}
}
