package memfs_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

func create(t *testing.T, f *memfs.FS, name, synced, unsynced string) storage.File {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte(synced), 0)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	_, err = file.WriteAt([]byte(unsynced), int64(len(synced)))
	require.NoError(t, err)
	return file
}

func TestCrashKeepsWhatWasSyncedAndRepeatsForASeed(t *testing.T) {
	synced, unsynced := string(make([]byte, 300))+"synced", string(make([]byte, 2000))+"unsynced"
	outcomes := map[string]bool{}
	for seed := range uint64(100) {
		var got [2]string
		for i := range got {
			f := memfs.New()
			file := create(t, f, "d/a", synced, unsynced)
			require.NoError(t, f.SyncDir("d"))
			f.Crash(rand.New(rand.NewPCG(seed, 0)))
			_, err := file.ReadAt(make([]byte, 1), 0)
			require.Error(t, err, "a handle from before")
			data, err := f.ReadFile("d/a")
			require.NoError(t, err)
			got[i] = string(data)
		}
		require.Equal(t, got[0], got[1])
		require.Equal(t, synced, got[0][:len(synced)])
		require.LessOrEqual(t, len(got[0]), len(synced)+len(unsynced))
		outcomes[got[0]] = true
	}
	require.Greater(t, len(outcomes), 10)
	require.True(t, outcomes[synced] && outcomes[synced+unsynced])
}

func TestNamesAreDurableAfterSyncDir(t *testing.T) {
	seen := map[bool]int{}
	for seed := range uint64(50) {
		f := memfs.New()
		create(t, f, "d/old", "old", "")
		require.NoError(t, f.SyncDir("d"))
		create(t, f, "d/new", "new", "")
		require.NoError(t, f.Rename("d/new", "d/old"))
		f.Crash(rand.New(rand.NewPCG(seed, 0)))
		data, err := f.ReadFile("d/old")
		require.NoError(t, err)
		require.Contains(t, []string{"old", "new"}, string(data))
		seen[string(data) == "new"]++
	}
	require.Len(t, seen, 2)
}

// What is written in place reaches the disk sector by sector, and what did not come is what was there, or zeros where the
// file was cut in between.
func TestCrashInAWriteInPlace(t *testing.T) {
	old, young := strings.Repeat("o", 2000), strings.Repeat("y", 1500)
	for _, cut := range []bool{false, true} {
		seen := map[byte]int{}
		for seed := range uint64(200) {
			f := memfs.New()
			file := create(t, f, "a", old, "")
			require.NoError(t, f.SyncDir("."))
			if cut {
				require.NoError(t, file.Truncate(100))
			}
			_, err := file.WriteAt([]byte(young), 300)
			require.NoError(t, err)
			f.Crash(rand.New(rand.NewPCG(seed, 0)))
			data, err := f.ReadFile("a")
			require.NoError(t, err)
			require.Equal(t, old[:100], string(data[:100]))
			for at := 512; at+512 <= min(len(data), 1800); at += 512 {
				require.Contains(t, "oy\x00", string(data[at]))
				seen[data[at]]++
			}
			if !cut {
				require.Equal(t, old[1800:], string(data[1800:]))
			}
		}
		require.Equal(t, cut, seen[0] > 0)
		require.Positive(t, seen['o'])
		require.Positive(t, seen['y'])
	}
}

// Behind a failed Sync only what is written anew is written by the next one.
func TestSyncWritesWhatIsDirty(t *testing.T) {
	f := memfs.New()
	file := create(t, f, "a", "one.two.three.", "")
	require.NoError(t, f.SyncDir("."))
	for _, w := range []struct {
		text string
		off  int64
		err  error
	}{{"ONE", 0, errors.New("disk")}, {"TWO", 4, nil}} {
		_, err := file.WriteAt([]byte(w.text), w.off)
		require.NoError(t, err)
		f.Fail(memfs.Sync, 1, w.err)
		require.ErrorIs(t, file.Sync(), w.err)
	}
	for seed := range uint64(20) {
		f.Crash(rand.New(rand.NewPCG(seed, 0)))
		data, err := f.ReadFile("a")
		require.NoError(t, err)
		require.Contains(t, []string{"one.TWO.three.", "ONE.TWO.three."}, string(data), "the cache knows more than the disk")
	}
}

func TestFailedSyncLeavesAHole(t *testing.T) {
	disk := errors.New("disk")
	left := map[string]bool{}
	for seed := range uint64(50) {
		f := memfs.New()
		file := create(t, f, "a", "one.", "two.")
		require.NoError(t, f.SyncDir("."))
		f.Fail(memfs.Sync, 1, disk)
		require.ErrorIs(t, file.Sync(), disk)
		_, err := file.WriteAt([]byte("three"), 8)
		require.NoError(t, err)
		require.NoError(t, file.Sync(), "it looks as if all were well")
		f.Crash(rand.New(rand.NewPCG(seed, 0)))
		data, err := f.ReadFile("a")
		require.NoError(t, err)
		left[string(data)] = true
	}
	require.True(t, left["one.\x00\x00\x00\x00three"], "%q", left)
}

func TestFaultsComeWhenOrdered(t *testing.T) {
	disk := errors.New("disk")
	f := memfs.New()
	file := create(t, f, "a", "", "")
	f.Fail(memfs.Write, 2, disk)
	_, err := file.WriteAt([]byte("12"), 0)
	require.NoError(t, err)
	writes := func(text string, at, comes int64, fault error) { // a failed write may write something, and does not tell
		t.Helper()
		n, err := file.WriteAt([]byte(text), at)
		require.ErrorIs(t, err, fault)
		require.Zero(t, n)
		size, err := file.Size()
		require.NoError(t, err)
		require.Equal(t, at+comes, size)
	}
	writes("3456", 2, 2, disk)
	f.Space(3)
	writes("56789", 4, 3, memfs.ErrNoSpace)
	f.PowerOff(1)
	require.NoError(t, file.Sync())
	require.ErrorIs(t, file.Truncate(0), memfs.ErrPowerOff)
	_, err = f.OpenFile("a", os.O_RDONLY, 0)
	require.ErrorIs(t, err, memfs.ErrPowerOff)
	f.Crash(rand.New(rand.NewPCG(1, 0)))
	_, err = f.OpenFile("b", os.O_RDONLY, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
