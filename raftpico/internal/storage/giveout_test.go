package storage_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// dirty counts what was written to new files and neither handed to the disk nor waited for.
type dirty struct {
	storage.FS
	takes                  time.Duration // for what is waited for
	mostIdle, mostUnderWay int64         // bytes
}

type dirtyFile struct {
	storage.File
	fs                *dirty
	end, given, there int64 // offsets: of what was written, handed to the disk, and waited for
}

func (d *dirty) OpenFile(name string, flag int, perm os.FileMode) (storage.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, ".new") {
		return f, err
	}
	return &dirtyFile{File: f, fs: d}, nil
}

func (f *dirtyFile) WriteAt(p []byte, offset int64) (int, error) {
	f.end = max(f.end, offset+int64(len(p)))
	f.fs.mostIdle = max(f.fs.mostIdle, f.end-f.given)
	f.fs.mostUnderWay = max(f.fs.mostUnderWay, f.end-f.there)
	return f.File.WriteAt(p, offset)
}

func (f *dirtyFile) WriteOut(offset, size int64, wait bool) error {
	if wait {
		time.Sleep(f.fs.takes)
		f.there = max(f.there, offset+size)
	} else {
		f.given = max(f.given, offset+size)
	}
	return f.File.WriteOut(offset, size, wait)
}

// Of a new file the disk has all along what was written, but for a little: the state, the entries behind it, and what the log
// has grown by meanwhile, however much that is.
func TestNewFileIsOnTheDiskAllAlong(t *testing.T) {
	require.Less(t, mostUnderWay(t, 11*time.Millisecond), int64(2<<20), "the log's syncs need not wait long")
	require.Less(t, mostUnderWay(t, 0), int64(9<<20), "on a quick disk that is not long either")
}

// mostUnderWay is how many bytes of a new file the disk did not have at a time.
func mostUnderWay(t *testing.T, takes time.Duration) int64 {
	const many, long = 400, 40 << 10 // 16 MB
	disk := &dirty{FS: memfs.New(), takes: takes}
	log := aged(t, disk)
	r, err := log.BeginReplace()
	require.NoError(t, err)
	for i := range many {
		require.NoError(t, log.Append(&wire.Record{HardState: hard(4, 5, 6+uint64(i)), LogEntries: entries(id(4, 9+uint64(i)), strings.Repeat("b", long))}))
	}
	require.NoError(t, r.Write(&wire.Record{Identity: identity()}))
	piece := []byte(strings.Repeat("s", long))
	require.NoError(t, r.WriteSnapshot(snapshot(4, 6), func(w io.Writer) error {
		_, _ = w.Write([]byte{'"'})
		for range many {
			_, _ = w.Write(piece) // an error stays until the end
		}
		_, err := w.Write([]byte{'"'})
		return err
	}))
	require.NoError(t, r.Write(&wire.Record{HardState: hard(4, 5, 6), LogEntries: entries(id(4, 6), "b", "c", "d")}))
	require.NoError(t, r.CatchUp(log.News(r)))
	_, err = log.Commit(r)
	require.NoError(t, err)
	require.Greater(t, log.Size(), int64(2*many*long))
	require.Less(t, disk.mostIdle, int64(512<<10))
	return disk.mostUnderWay
}
