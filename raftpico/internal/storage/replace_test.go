package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// successor is what replaces the log of story by its own snapshot, with trailing entries, in several lines.
func successor() []*wire.Record {
	return []*wire.Record{
		{Identity: identity()},
		{Snapshot: snapshot(4, 6), HardState: hard(4, 5, 6)},
		{HardState: hard(4, 5, 6), LogEntries: entries(id(3, 4), "start")},
		{HardState: hard(4, 5, 6), LogEntries: entries(id(4, 5), "empty", "b", "c", strings.Repeat("long ", 300))},
	}
}

func late(i uint64) *wire.Record {
	return &wire.Record{HardState: hard(4, 5, 6+i), LogEntries: entries(id(4, 9+i), "late")}
}

// aged is a log that has lived its story.
func aged(t testing.TB, fsys storage.FS) *storage.Log {
	log, _ := open(t, fsys)
	for _, r := range story() {
		require.NoError(t, log.Append(r))
	}
	return log
}

func TestReplacedLogGoesOn(t *testing.T) {
	fsys := memfs.New()
	log := aged(t, fsys)
	require.NoError(t, log.Replace(successor()...))
	header := wire.Header{Format: wire.Format, Instance: "k3x9"}
	file, err := fsys.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(sealed(t, append([]*wire.Record{{Header: &header}}, successor()...)...)), string(file))
	require.EqualValues(t, len(file), log.Size())
	lines := strings.SplitAfter(string(file), "\n")
	require.EqualValues(t, len(lines[2]), log.SnapshotSize())
	require.EqualValues(t, len(lines[3])+len(lines[4]), log.SinceSnapshot())
	_, err = fsys.ReadFile(path + ".new")
	require.Error(t, err)
	_, _, err = storage.Open(fsys, path, "k3x9")
	require.ErrorIs(t, err, storage.ErrLocked, "the new file is not locked")

	require.NoError(t, log.Append(late(0)))
	snapshotSize, since := log.SnapshotSize(), log.SinceSnapshot()
	require.NoError(t, log.Close())
	log, state := open(t, fsys)
	require.Equal(t, header, state.Header)
	require.Equal(t, id(3, 4), state.Prev)
	require.Len(t, state.Entries, 6)
	require.EqualValues(t, 6, state.Snapshot.LastIncluded.Index)
	require.Equal(t, snapshotSize, log.SnapshotSize())
	require.Equal(t, since, log.SinceSnapshot())
}

func TestInstalledSnapshotStartsAnEmptyLog(t *testing.T) {
	fsys := memfs.New()
	log := aged(t, fsys)
	require.NoError(t, log.Replace(&wire.Record{Identity: identity()}, &wire.Record{Snapshot: snapshot(5, 40), HardState: hard(5, 0, 40)}))
	require.NoError(t, log.Append(&wire.Record{HardState: hard(5, 0, 41), LogEntries: entries(id(5, 40), "a")}))
	state := stateOf(t, log, fsys)
	require.Equal(t, id(5, 40), state.Prev)
	require.Len(t, state.Entries, 1)
}

func TestReplacementMayForgetNothing(t *testing.T) {
	change := func(f func(r []*wire.Record)) []*wire.Record {
		r := successor()
		f(r)
		return r
	}
	all := func(h *wire.HardState) []*wire.Record {
		return change(func(r []*wire.Record) { r[1].HardState, r[2].HardState, r[3].HardState = h, h, h })
	}
	for name, records := range map[string][]*wire.Record{
		"identity":       successor()[1:],
		"whole identity": nil,
		"own identity":   change(func(r []*wire.Record) { r[0].Identity.NodeID = 2 }),
		"hard state":     change(func(r []*wire.Record) { r[1].HardState = nil })[:2],
		"term":           all(hard(3, 5, 6)),
		"vote":           all(hard(4, 0, 6)),
		"commit":         all(hard(4, 5, 5)),
		"snapshot":       {{Identity: identity()}, {HardState: hard(4, 5, 6), LogEntries: entries(id(0, 0), "start", "start", "start", "start", "a", "b", "c")}},
		"entries":        successor()[:3],
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			log := aged(t, fsys)
			before, err := fsys.ReadFile(path)
			require.NoError(t, err)
			require.Error(t, log.Replace(records...))
			after, err := fsys.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
			require.NoError(t, log.Append(late(0)), "the log goes on")
		})
	}
}

func TestReplacementThatFailsBeforeTheRenameLeavesTheLog(t *testing.T) {
	for _, c := range []struct {
		op   memfs.Op
		n    int
		dead bool
	}{
		{memfs.Open, 1, false}, {memfs.Write, 1, false}, {memfs.Write, 4, false}, {memfs.Sync, 1, false},
		{memfs.Lock, 1, false}, {memfs.Rename, 1, true}, {memfs.SyncDir, 1, true},
	} {
		fsys := memfs.New()
		log := aged(t, fsys)
		before := show(t, stateOf(t, log, fsys))
		log, _ = open(t, fsys)
		fsys.Fail(c.op, c.n, errDisk)
		require.ErrorIs(t, log.Replace(successor()...), errDisk, "%+v", c)
		if c.dead {
			require.ErrorIs(t, log.Append(late(0)), errDisk, "%+v", c)
			continue
		}
		_, err := fsys.ReadFile(path + ".new")
		require.Error(t, err, "%+v", c)
		require.Equal(t, before, show(t, stateOf(t, log, fsys)), "%+v", c)
		log, _ = open(t, fsys)
		require.NoError(t, log.Replace(successor()...), "%+v", c)
	}
}

// The writer is another goroutine; the loop appends meanwhile.
func TestLinesThatComeMeanwhileAreInTheNewFile(t *testing.T) {
	defer goleak.VerifyNone(t)
	fsys := memfs.New()
	log := aged(t, fsys)
	r, err := log.BeginReplace()
	require.NoError(t, err)
	seen, done := make(chan []*wire.Record, 1), make(chan error)
	go func() { // ends when it has caught up with what it is told; owns r until then
		for _, record := range successor() {
			if err := r.Write(record); err != nil {
				done <- err
				return
			}
		}
		if err := r.Sync(); err != nil {
			done <- err
			return
		}
		done <- r.CatchUp(<-seen)
	}()
	for i := range uint64(10) {
		require.NoError(t, log.Append(late(i)))
	}
	seen <- log.News(r)
	for i := range uint64(10) {
		require.NoError(t, log.Append(late(10+i)))
	}
	require.NoError(t, <-done)
	// A later record replaces one that the writer has copied.
	require.NoError(t, log.Append(&wire.Record{HardState: hard(5, 1, 25), LogEntries: entries(id(4, 27), "start")}))
	long := strings.Repeat("long", 1<<19)
	require.NoError(t, log.Append(&wire.Record{HardState: hard(5, 1, 28), LogEntries: entries(id(5, 28), long)}))
	require.NoError(t, commit(log, r))
	require.NoError(t, log.Append(&wire.Record{HardState: hard(5, 1, 28), LogEntries: entries(id(5, 29), "on")}))

	want := memfs.New()
	plain := aged(t, want)
	require.NoError(t, plain.Replace(successor()...))
	for i := range uint64(20) {
		require.NoError(t, plain.Append(late(i)))
	}
	require.NoError(t, plain.Append(&wire.Record{HardState: hard(5, 1, 25), LogEntries: entries(id(4, 27), "start")}))
	require.NoError(t, plain.Append(&wire.Record{HardState: hard(5, 1, 28), LogEntries: entries(id(5, 28), long)}))
	require.NoError(t, plain.Append(&wire.Record{HardState: hard(5, 1, 28), LogEntries: entries(id(5, 29), "on")}))
	got, err := fsys.ReadFile(path)
	require.NoError(t, err)
	wanted, err := want.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(wanted, got))
}

// A new file that lacks acknowledged entries, or has others, does not take the log's place.
func TestNewFileEndsWhereTheOldOneDoes(t *testing.T) {
	for name, records := range map[string][]*wire.Record{"too early": nil, "another entry": {{HardState: hard(5, 1, 6), LogEntries: entries(id(4, 9), "start")}}} {
		fsys := memfs.New()
		log := aged(t, fsys)
		require.NoError(t, log.Append(late(0)))
		before, err := fsys.ReadFile(path)
		require.NoError(t, err)
		r, err := log.BeginReplace()
		require.NoError(t, err)
		for _, record := range append(successor(), records...) {
			require.NoError(t, r.Write(record), name)
		}
		require.ErrorContains(t, commit(log, r), "the old one with entry 10 of term 4", name)
		after, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after), name)
		require.NoError(t, log.Append(late(1)), name)
	}
}

func commit(log *storage.Log, r *storage.Replacement) error {
	old, err := log.Commit(r)
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	return err
}

func TestNewerReplacementWins(t *testing.T) {
	fsys := memfs.New()
	log := aged(t, fsys)
	slow, err := log.BeginReplace()
	require.NoError(t, err)
	require.NoError(t, slow.Write(successor()[0]))
	require.NoError(t, log.Replace(&wire.Record{Identity: identity()}, &wire.Record{Snapshot: snapshot(5, 40), HardState: hard(5, 0, 40)}))
	next, err := log.BeginReplace()
	require.NoError(t, err)
	for _, record := range successor()[1:] {
		require.NoError(t, slow.Write(record), "it harms nobody, and does not know")
	}
	require.ErrorIs(t, commit(log, slow), storage.ErrSuperseded)
	_, err = fsys.ReadFile(path + ".new")
	require.NoError(t, err, "the newer one's file was removed")
	log.Abort(next)
	_, err = fsys.ReadFile(path + ".new")
	require.Error(t, err)
	require.EqualValues(t, 40, stateOf(t, log, fsys).Snapshot.LastIncluded.Index)
}

// How far a life with a replacement has come.
const begun, appended, replaced, over = 1, 2, 3, 4

// withReplacement is such a life. It tells how far it came without an error, and what a reader may see then.
func withReplacement(t *testing.T) (live func(fsys *memfs.FS) (done int, err error), may map[int][]string) {
	_, olds, _ := written(t, append(story(), late(0))...)
	var news []string
	want := memfs.New()
	log := aged(t, want)
	require.NoError(t, log.Replace(successor()...))
	for i := range uint64(2) {
		require.NoError(t, log.Append(late(i)))
		news = append(news, show(t, stateOf(t, log, want)))
		log, _ = open(t, want)
	}
	may = map[int][]string{
		0:        olds[:len(olds)-1],
		begun:    olds[len(olds)-2:],
		appended: {olds[len(olds)-1], news[len(news)-2]},
		replaced: news[len(news)-2:],
		over:     news[len(news)-1:],
	}
	return func(fsys *memfs.FS) (done int, err error) {
		log, _, err := storage.Open(fsys, path, "k3x9")
		for _, r := range story() {
			if err == nil {
				err = log.Append(r)
			}
		}
		if err != nil {
			return 0, err
		}
		r, err := log.BeginReplace()
		for _, record := range successor() {
			if err == nil {
				err = r.Write(record)
			}
		}
		if err == nil {
			err = log.Append(late(0))
		}
		if err != nil {
			return begun, err
		}
		if err := commit(log, r); err != nil {
			return appended, err
		}
		if err := log.Append(late(1)); err != nil {
			return replaced, err
		}
		return over, nil
	}, may
}

func TestPowerCutInReplaceLeavesTheOldOrTheNew(t *testing.T) {
	live, may := withReplacement(t)
	whole := memfs.New()
	_, err := live(whole)
	require.NoError(t, err)
	for at := range whole.Changes() {
		for seed := range uint64(40) {
			fsys := linked(memfs.New(), seed)
			fsys.PowerOff(at)
			done, err := live(fsys)
			require.ErrorIs(t, err, memfs.ErrPowerOff)
			if done == 0 {
				break // TestPowerCutAtEveryChange
			}
			fsys.Crash(chance(seed))
			require.Contains(t, may[done], read(t, fsys), "change %d, seed %d", at, seed)
			nothingNew(t, fsys)
			_, own, err := fsys.Locate(path)
			require.NoError(t, err)
			require.Equal(t, seed%3 != 0, own == disk, "a link is where it was")
		}
	}
}

// Any one call of the file system fails, or the disk is full from some byte on, and the server ends. The next one,
// whether the power goes off in between or not, finds what was acknowledged, and goes on.
func TestFaultAtEveryCallLosesNothing(t *testing.T) {
	live, may := withReplacement(t)
	type fault struct {
		name  string
		order func(f *memfs.FS, n int)
		step  int
	}
	faults := []fault{{"full after bytes", func(f *memfs.FS, n int) { f.Space(int64(n)) }, 97}}
	for op := memfs.Open; op <= memfs.SyncDir; op++ {
		faults = append(faults, fault{fmt.Sprint("call of kind ", op, " number"), func(f *memfs.FS, n int) { f.Fail(op, n, errDisk) }, 1})
	}
	for _, fault := range faults {
		failed := 0
		for n, last := 1, false; !last; n += fault.step {
			for seed := range uint64(6) {
				fsys := linked(memfs.New(), seed)
				fault.order(fsys, n)
				done, err := live(fsys)
				if last = err == nil; !last {
					failed++
				}
				fsys.Space(-1)
				for op := memfs.Open; op <= memfs.SyncDir; op++ {
					fsys.Fail(op, 0, nil)
				}
				fsys.Kill()
				if seed >= 3 {
					fsys.Crash(chance(seed))
				}
				require.Contains(t, may[done], read(t, fsys), "%s %d, seed %d: %v", fault.name, n, seed, err)
				nothingNew(t, fsys)
			}
		}
		if fault.name != fmt.Sprint("call of kind ", memfs.Truncate, " number") { // nothing is torn here
			require.Positive(t, failed, fault.name)
		}
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	real := filepath.Join(t.TempDir(), "log.jsonl")
	for _, c := range []struct {
		fs   storage.FS
		path string
	}{{storage.OS, real}, {memfs.New(), path}} {
		log, _, err := storage.Open(c.fs, c.path, "a1")
		require.NoError(t, err)
		_, _, err = storage.Open(c.fs, c.path, "a2")
		require.ErrorIs(t, err, storage.ErrLocked)
		require.NoError(t, log.Append(founding()))
		require.NoError(t, log.Replace(founding()))
		_, _, err = storage.Open(c.fs, c.path, "a2")
		require.ErrorIs(t, err, storage.ErrLocked)
		require.NoError(t, log.Append(&wire.Record{HardState: hard(2, 0, 1)}))
		require.NoError(t, log.Close())
		log, state, err := storage.Open(c.fs, c.path, "a2")
		require.NoError(t, err)
		require.Equal(t, "a1", state.Header.Instance)
		require.Equal(t, *hard(2, 0, 1), state.HardState)
		require.NoError(t, log.Close())
	}
}
