package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

var errDisk = errors.New("disk fault")

func TestFailedAppendKillsTheLog(t *testing.T) {
	for name, order := range map[string]func(*memfs.FS){
		"write": func(f *memfs.FS) { f.Fail(memfs.Write, 1, errDisk) },
		"sync":  func(f *memfs.FS) { f.Fail(memfs.Sync, 1, errDisk) },
		"full":  func(f *memfs.FS) { f.Space(40) },
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			log, _ := open(t, fsys)
			require.NoError(t, log.Append(founding()))
			want := memfs.ErrNoSpace
			order(fsys)
			if name != "full" {
				want = errDisk
			}
			err := log.Append(story()[2])
			require.ErrorIs(t, err, want)
			fsys.Space(-1)
			changes := fsys.Changes()
			require.Equal(t, err, log.Append(story()[2]))
			require.Equal(t, err, log.Replace(founding()))
			require.Equal(t, changes, fsys.Changes(), "a dead log touched the disk")
			require.NoError(t, log.Close())

			log, state := open(t, fsys) // restarted without a power cut
			if name == "sync" {
				require.Len(t, state.Entries, 3, "written, and nobody was told")
			} else {
				require.Empty(t, state.Entries)
				require.Positive(t, state.Cut)
				require.NoError(t, log.Append(story()[2]))
			}
			require.NoError(t, log.Append(story()[3]))
			now := show(t, stateOf(t, log, fsys))
			for seed := range uint64(20) {
				fsys.Crash(chance(seed))
				require.Equal(t, now, read(t, fsys), "what a failed sync left in the cache alone was taken for durable")
			}
		})
	}
}

// A process was killed, or its disk failed, between write and sync. The next one builds on what it reads.
func TestWhatOpenReadsIsDurable(t *testing.T) {
	for _, fault := range []error{errDisk, memfs.ErrPowerOff} {
		for seed := range uint64(20) {
			fsys := memfs.New()
			log, _ := open(t, fsys)
			require.NoError(t, log.Append(founding()))
			fsys.Fail(memfs.Sync, 1, fault)
			require.ErrorIs(t, log.Append(story()[2]), fault)
			fsys.Kill()
			require.Error(t, log.Close(), "a dead process can't")
			now := read(t, fsys)
			fsys.Crash(chance(seed))
			require.Equal(t, now, read(t, fsys), "%v, seed %d", fault, seed)
		}
	}
}

// stateOf closes the log and reads it.
func stateOf(t *testing.T, log *storage.Log, fsys storage.FS) *storage.State {
	require.NoError(t, log.Close())
	log, state := open(t, fsys)
	require.NoError(t, log.Close())
	return state
}

func TestOpenReturnsWhatFails(t *testing.T) {
	for _, op := range []memfs.Op{memfs.Open, memfs.Read, memfs.Write, memfs.Sync, memfs.Lock, memfs.SyncDir} {
		fsys := memfs.New()
		log, _ := open(t, fsys)
		require.NoError(t, log.Append(founding()))
		want := show(t, stateOf(t, log, fsys))
		fsys.Fail(op, 1, errDisk)
		_, _, err := storage.Open(fsys, path, "k3x9")
		require.ErrorIs(t, err, errDisk, "op %d", op)
		require.Equal(t, want, read(t, fsys), "op %d", op)
	}
}

// The power goes off in every change that a life makes. What was acknowledged is there, what was not may be.
func TestPowerCutAtEveryChange(t *testing.T) {
	records := story()
	for i, r := range records { // long lines, which tear in more ways
		if e := r.LogEntries; e != nil {
			more := entries(id(r.HardState.Term, e.Prev.Index+uint64(len(e.Entries))), strings.Repeat("x", 700*i))
			if i < 4 {
				e.Entries = append(e.Entries, more.Entries...)
			}
		}
	}
	_, states, _ := written(t, records...)
	live := func(fsys *memfs.FS) (acked int, err error) {
		log, _, err := storage.Open(fsys, path, "k3x9")
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			if err := log.Append(r); err != nil {
				return acked, err
			}
			acked++
		}
		return acked, nil
	}
	whole := memfs.New()
	_, err := live(whole)
	require.NoError(t, err)
	for at := range whole.Changes() {
		for seed := range uint64(60) {
			fsys := linked(memfs.New(), seed)
			fsys.PowerOff(at)
			acked, err := live(fsys)
			require.ErrorIs(t, err, memfs.ErrPowerOff)
			fsys.Crash(chance(seed))
			first := read(t, fsys)
			require.Contains(t, states[acked:min(acked+2, len(states))], first, "change %d, seed %d", at, seed)
			fsys.Crash(chance(seed))
			require.Equal(t, first, read(t, fsys), "change %d, seed %d: what was read did not stay", at, seed)
		}
	}
}

// A power cut while Open mends what the one before left.
func TestPowerCutWhileOpening(t *testing.T) {
	file, states, ends := written(t, story()...)
	for name, left := range map[string][]byte{
		"torn":   file[:ends[len(ends)-2]+900],
		"header": file[:10],
		"empty":  nil,
	} {
		want := states[0]
		if name == "torn" {
			want = states[len(states)-2]
		}
		for at, over := 0, false; !over; at++ {
			for seed := range uint64(20) {
				fsys := linked(memfs.New(), seed)
				fsys.WriteFile(path, left)
				_, own, err := fsys.Locate(path)
				require.NoError(t, err)
				fsys.WriteFile(own+".new", []byte("of a crash before"))
				fsys.PowerOff(at)
				log, _, err := storage.Open(fsys, path, "k3x9")
				if over = err == nil; over {
					require.Greater(t, at, 5)
					require.NoError(t, log.Close())
				}
				fsys.Crash(chance(seed))
				require.Equal(t, want, read(t, fsys), "%s, change %d, seed %d", name, at, seed)
				nothingNew(t, fsys)
			}
		}
	}
}

// linked makes path a symbolic link, into another folder, in two of three seeds.
func linked(fsys *memfs.FS, seed uint64) *memfs.FS {
	switch seed % 3 {
	case 1:
		fsys.Symlink(disk, path)
	case 2:
		fsys.Symlink("/links/log", path)
		fsys.Symlink(disk, "/links/log")
	}
	return fsys
}

const disk = "/disk/log"

// nothingNew holds that no new file is left over, and a link is where it was.
func nothingNew(t *testing.T, fsys *memfs.FS) {
	t.Helper()
	for _, name := range []string{path, "/links/log", disk} {
		_, err := fsys.ReadFile(name + ".new")
		require.Error(t, err, "the leftover stayed")
	}
	_, own, err := fsys.Locate(path)
	require.NoError(t, err)
	require.Contains(t, []string{path, disk}, own)
}

func TestSyncsAreCounted(t *testing.T) {
	log, _ := open(t, memfs.New())
	start := log.Syncs()
	for _, r := range story() {
		require.NoError(t, log.Append(r))
	}
	require.EqualValues(t, len(story()), log.Syncs()-start)
}
