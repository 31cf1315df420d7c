package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// The user's state is written and read in pieces of 1 MiB; the file is what it would be in one.

const piece = 256 << 10

// stateOfSize is JSON of n bytes that looks like what stands around a state wherever it can.
func stateOfSize(n int) []byte {
	const before, after, filler = `{"user":{},"a":{"b":1,"user":"`, `"}}`, `0123456789*abcdefghij }},\"crc\":\"00000000\"} ,\"user\": `
	if n < len(before)+len(after) {
		return bytes.Repeat([]byte("7"), n)
	}
	s := append(make([]byte, 0, n), before...)
	for len(s)+len(filler) <= n-len(after) {
		s = append(s, filler...)
	}
	s = append(s, strings.Repeat("x", n-len(after)-len(s))...)
	return append(s, after...)
}

// inPieces writes a state with writes of up to size bytes.
func inPieces(state []byte, size int) func(io.Writer) error {
	return func(w io.Writer) error {
		for rest := state; len(rest) > 0; {
			n := min(size, len(rest))
			if m, err := w.Write(rest[:n]); err != nil || m != n {
				return errors.Join(err, fmt.Errorf("%d bytes of %d were taken", m, n))
			}
			rest = rest[n:]
		}
		return nil
	}
}

// withState makes a log begin with a snapshot at 6, in a file of its own lines.
func withState(log *storage.Log, state func(io.Writer) error, more ...*wire.Record) error {
	r, err := log.BeginReplace()
	if err != nil {
		return err
	}
	if err := writeWith(r, state); err != nil {
		log.Abort(r)
		return err
	}
	for _, record := range more {
		if err := r.Write(record); err != nil {
			log.Abort(r)
			return err
		}
	}
	return commit(log, r)
}

func writeWith(r *storage.Replacement, state func(io.Writer) error) error {
	if err := r.Write(&wire.Record{Identity: identity()}); err != nil {
		return err
	}
	if err := r.WriteSnapshot(snapshot(4, 6), state); err != nil {
		return err
	}
	return r.Write(behind())
}

func behind() *wire.Record {
	return &wire.Record{HardState: hard(4, 5, 6), LogEntries: entries(id(4, 6), "b", "c", strings.Repeat("long ", 300))}
}

// fileWith is the file that withState makes.
func fileWith(t testing.TB, state []byte) []byte {
	snap := snapshot(4, 6)
	snap.Machines.User = state
	return sealed(t, &wire.Record{Header: &wire.Header{Format: wire.Format, Instance: "k3x9"}}, &wire.Record{Identity: identity()}, &wire.Record{Snapshot: snap}, behind())
}

// userState reads the state in a log's snapshot.
func userState(t testing.TB, log *storage.Log) string {
	t.Helper()
	state, err := log.OpenState()
	require.NoError(t, err)
	text, err := io.ReadAll(state)
	require.NoError(t, err)
	require.EqualValues(t, len(text), state.Size())
	require.EqualValues(t, 6, state.At.Index)
	require.NoError(t, state.Close())
	return string(text)
}

// same is require.Equal without megabytes of output.
func same(t testing.TB, want, got string, about ...any) {
	t.Helper()
	if want != got {
		require.FailNow(t, fmt.Sprintf("%d bytes wanted, %d got, and they differ", len(want), len(got)), about...)
	}
}

func TestStatesOfEverySize(t *testing.T) {
	head := bytes.Index(fileWith(t, []byte("7")), []byte(`,"user":7}}`)) + len(`,"user":`) // offset in the file
	line := head - bytes.Index(fileWith(t, []byte("7")), []byte(`{"Snapshot"`))            // and in the line
	type size struct{ bytes, writes int }
	sizes := []size{{1, 1}, {2, 1}, {511, 7}, {512, 512}, {513, 1000}, {64 << 10, 1 << 20}}
	for n := piece - line - 24; n <= piece-line+2; n++ { // where state, tail and crc of the line end with a piece
		sizes = append(sizes, size{n, piece})
	}
	for n := piece - 1; n <= piece+1; n++ {
		sizes = append(sizes, size{n, piece - 1}, size{n, 64 << 10})
	}
	for _, pieces := range []int{2, 4} { // the file is synced behind four
		for _, d := range []int{-line - 3, -line - 1, -line, -line + 1, 0} {
			sizes = append(sizes, size{pieces*piece + d, 3*piece + 11})
		}
	}
	for _, size := range sizes {
		text := stateOfSize(size.bytes)
		require.Len(t, text, size.bytes)
		fsys := memfs.New()
		log := aged(t, fsys)
		require.NoError(t, withState(log, inPieces(text, size.writes)), "%+v", size)
		file, err := fsys.ReadFile(path)
		require.NoError(t, err)
		same(t, string(fileWith(t, text)), string(file), "%+v", size)
		check := func() {
			t.Helper()
			same(t, string(text), userState(t, log), "%+v", size)
			require.EqualValues(t, len(file), log.Size(), "%+v", size)
			lines := bytes.SplitAfter(file, []byte("\n"))
			require.EqualValues(t, len(lines[2]), log.SnapshotSize(), "%+v", size)
			require.EqualValues(t, len(lines[3]), log.SinceSnapshot(), "%+v", size)
		}
		check()
		require.NoError(t, log.Close())
		var state *storage.State
		log, state, err = storage.Open(fsys, path, "other")
		require.NoError(t, err, "%+v", size)
		require.Nil(t, state.Snapshot.Machines.User)
		require.Len(t, state.Entries, 3)
		check()
		require.NoError(t, log.Append(late(0)))
		require.NoError(t, log.Close())

		file, err = fsys.ReadFile(path)
		require.NoError(t, err)
		report, err := storage.Inspect(fsys, path, func(l *storage.Line) error {
			text, err := io.ReadAll(l.Text())
			same(t, string(file[l.Offset:l.Offset+l.Length-1]), string(text), "%+v, line %d", size, l.Number)
			return errors.Join(err, l.Err)
		})
		require.NoError(t, err)
		require.Equal(t, storage.Report{Lines: 5, End: int64(len(file))}, report)
	}
}

// What a log takes, it must take back: a state of no bytes is no JSON, and a newline splits the line.
func TestStateThatIsNoneIsRefused(t *testing.T) {
	broken := errors.New("the machine gave up")
	for name, state := range map[string]func(io.Writer) error{
		"nothing":            inPieces(nil, 1),
		"an empty write":     func(w io.Writer) error { _, err := w.Write(nil); return err },
		"a newline":          inPieces([]byte("[1,\n2]"), 1),
		"a late newline":     inPieces(append(stateOfSize(2*piece+5), '\n'), piece),
		"an error":           func(io.Writer) error { return broken },
		"an error afterward": func(w io.Writer) error { return errors.Join(inPieces(stateOfSize(2*piece), 999)(w), broken) },
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			log := aged(t, fsys)
			before, err := fsys.ReadFile(path)
			require.NoError(t, err)
			require.Error(t, withState(log, state))
			after, err := fsys.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
			_, err = fsys.ReadFile(path + ".new")
			require.Error(t, err)
			require.NoError(t, log.Append(late(0)), "the log goes on")
			require.NoError(t, withState(log, inPieces([]byte("1"), 1), late(0)))
		})
	}
}

// An error in a write stays: who does not look at each one learns of it in the end.
func TestFailedWriteOfAStateStays(t *testing.T) {
	fsys := memfs.New()
	log := aged(t, fsys)
	fsys.Fail(memfs.Write, 4, errDisk) // header, identity, a piece
	require.ErrorIs(t, withState(log, func(w io.Writer) error {
		for range 5 {
			_, _ = w.Write(make([]byte, piece)) // it looks at nothing
		}
		return nil
	}), errDisk)
	require.NoError(t, log.Append(late(0)))
}

// A snapshot's line need not be followed by another one.
func TestSnapshotLineMayBeTheLast(t *testing.T) {
	for _, size := range []int{1, 100, piece, 2*piece + 77} {
		text := stateOfSize(size)
		fsys := memfs.New()
		log := aged(t, fsys)
		snap := snapshot(4, 8)
		snap.Machines.User = text
		require.NoError(t, log.Replace(&wire.Record{Identity: identity()}, &wire.Record{HardState: hard(4, 5, 6)}, &wire.Record{Snapshot: snap}))
		require.NoError(t, log.Close())
		whole, err := fsys.ReadFile(path)
		require.NoError(t, err)
		for name, file := range map[string][]byte{
			"whole":             whole,
			"without a newline": whole[:len(whole)-1],
			"with a zero":       append(bytes.Clone(whole[:len(whole)-1]), 0),
		} {
			fsys.WriteFile(path, file)
			log, state, err := storage.Open(fsys, path, "other")
			require.NoError(t, err, "%s, %d bytes", name, size)
			require.EqualValues(t, 8, state.HardState.Commit)
			user, err := log.OpenState()
			require.NoError(t, err)
			got, err := io.ReadAll(user)
			require.NoError(t, err)
			require.NoError(t, user.Close())
			same(t, string(text), string(got), "%s, %d bytes", name, size)
			require.NoError(t, log.Close())
			mended, err := fsys.ReadFile(path)
			require.NoError(t, err)
			same(t, string(whole), string(mended), "%s, %d bytes", name, size)
		}
		for _, cut := range []int{2, 40, 60} { // no crash behind a rename leaves this: what the file promised is missed
			fsys.WriteFile(path, whole[:len(whole)-cut])
			_, _, err := storage.Open(fsys, path, "other")
			require.Error(t, err)
		}
	}
}

// A file that another raftpico wrote may have members before the state that are longer than a piece, and spaces.
func TestLongHeadsAreRead(t *testing.T) {
	for _, size := range []int{piece - 500, piece, 3 * piece, 4<<20 - 300, 5 << 20} {
		snap := snapshot(4, 6)
		snap.Machines.System = fmt.Appendf(nil, `{"members":{"1":{"addr":"%s"}}}`, strings.Repeat(`,\"user\":`, size/10))
		text := stateOfSize(piece + 100)
		fsys := memfs.New()
		log := aged(t, fsys)
		r, err := log.BeginReplace()
		require.NoError(t, err)
		require.NoError(t, r.Write(&wire.Record{Identity: identity()}))
		require.NoError(t, r.WriteSnapshot(snap, inPieces(text, 1000)))
		require.NoError(t, r.Write(behind()))
		require.NoError(t, commit(log, r))
		same(t, string(text), userState(t, log), "a head of %d bytes", size)
		require.NoError(t, log.Close())
		log, state, err := storage.Open(fsys, path, "other")
		require.NoError(t, err)
		same(t, string(snap.Machines.System), string(state.Snapshot.Machines.System))
		same(t, string(text), userState(t, log), "a head of %d bytes", size)
	}
}

// Which member is the state must not depend on what the member list holds.
func TestMemberListMayNameAUser(t *testing.T) {
	for _, big := range []int{100, 2 * piece} {
		snap := snapshot(4, 6)
		snap.Machines.System = []byte(`{"members":{},"user":[1,2,3]}`)
		text := stateOfSize(big)
		fsys := memfs.New()
		log := aged(t, fsys)
		r, err := log.BeginReplace()
		require.NoError(t, err)
		require.NoError(t, r.Write(&wire.Record{Identity: identity()}))
		err = r.WriteSnapshot(snap, inPieces(text, piece))
		if err == nil {
			err = r.Write(behind())
		}
		if err != nil {
			log.Abort(r) // to refuse it is as good
			continue
		}
		require.NoError(t, commit(log, r))
		require.NoError(t, log.Close())
		log, _, err = storage.Open(fsys, path, "other")
		require.NoError(t, err)
		same(t, string(text), userState(t, log), "%d bytes", big)
	}
}

func TestFlippedBitsInALargeSnapshotAreRefused(t *testing.T) {
	text := stateOfSize(piece + 500) // its stars are a bit away from newlines
	whole := fileWith(t, text)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	from := len(lines[0]) + len(lines[1])
	to := from + len(lines[2])
	rng := chance(1)
	var bits []int
	for at := from; at < from+200; at += 2 {
		bits = append(bits, at*8+rng.IntN(8))
	}
	for at := to - 25; at < to; at++ {
		bits = append(bits, at*8+rng.IntN(8), at*8+rng.IntN(8))
	}
	stars := 0
	for at := from; at < to && stars < 10; at++ {
		if whole[at] == '*' && rng.IntN(200) == 0 {
			stars++
			bits = append(bits, at*8+5)
		}
	}
	require.Equal(t, 10, stars)
	for range 30 {
		bits = append(bits, from*8+rng.IntN((to-from)*8))
	}
	fsys := memfs.New()
	fsys.WriteFile(path, whole)
	for _, bit := range bits {
		fsys.Flip(path, bit)
		_, _, err := storage.Open(fsys, path, "other")
		var damage *storage.DamageError
		require.ErrorAs(t, err, &damage, "bit %d of byte %d of the line", bit%8, bit/8-from)
		require.Equal(t, 3, damage.Line, "bit %d of byte %d of the line", bit%8, bit/8-from)
		fsys.Flip(path, bit)
	}
	same(t, string(text), userStateOf(t, fsys), "it was only the bits")
}

func userStateOf(t testing.TB, fsys storage.FS) string {
	t.Helper()
	log, _, err := storage.Open(fsys, path, "other")
	require.NoError(t, err)
	defer log.Close()
	return userState(t, log)
}

// A state of several pieces that replaces a log, as made here and as received, while the power goes off in each change.
func TestPowerCutInAReplacementWithAStreamedState(t *testing.T) {
	text := stateOfSize(4*piece + 5000) // so that it is synced in the middle, too
	live := func(fsys *memfs.FS, received bool) (replaced bool, err error) {
		log, _, err := storage.Open(fsys, path, "k3x9")
		if err != nil {
			return false, err
		}
		if !received {
			r, err := log.BeginReplace()
			if err == nil {
				err = writeWith(r, inPieces(text, 300_000))
			}
			if err == nil {
				err = log.Append(late(0))
			}
			if err == nil {
				err = r.CatchUp(log.News(r))
			}
			if err == nil {
				err = commit(log, r)
			}
			return err == nil, err
		}
		r, err := log.BeginAnew()
		if err == nil {
			err = r.Write(&wire.Record{Identity: identity()})
		}
		if err != nil {
			return false, err
		}
		w := r.BeginState(snapshot(5, 40))
		err = inPieces(text, 300_000)(w)
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			err = log.Append(late(0)) // does not follow
		}
		if err == nil {
			err = r.Sync()
		}
		if err == nil {
			err = r.Write(&wire.Record{HardState: hard(5, 0, 40)})
		}
		if err == nil {
			err = commit(log, r)
		}
		return err == nil, err
	}
	start := memfs.New()
	require.NoError(t, aged(t, start).Close())
	before, err := start.ReadFile(path)
	require.NoError(t, err)
	for _, received := range []bool{false, true} {
		whole := memfs.New()
		whole.WriteFile(path, before)
		_, err := live(whole, received)
		require.NoError(t, err)
		seenOld, seenNew := 0, 0
		for at := range whole.Changes() {
			for seed := range uint64(5) {
				fsys := linked(memfs.New(), seed)
				fsys.WriteFile(path, before)
				fsys.PowerOff(at)
				_, err := live(fsys, received)
				require.ErrorIs(t, err, memfs.ErrPowerOff)
				fsys.Crash(chance(seed))
				log, state, err := storage.Open(fsys, path, "other")
				require.NoError(t, err, "change %d, seed %d", at, seed)
				user, err := log.OpenState()
				require.NoError(t, err)
				got, err := io.ReadAll(user)
				require.NoError(t, err)
				require.NoError(t, user.Close())
				if at := state.Snapshot.LastIncluded.Index; at == 1 {
					seenOld++
					require.Equal(t, `"as of 1"`, string(got))
				} else {
					seenNew++
					same(t, string(text), string(got), "change %d, seed %d", at, seed)
					require.Equal(t, received, at == 40)
					require.Equal(t, received, len(state.Entries) == 0)
				}
				_, err = fsys.ReadFile(path + ".new")
				require.Error(t, err, "the leftover stayed")
				next := late(0)
				if state.Snapshot.LastIncluded.Index == 40 {
					next = &wire.Record{HardState: hard(5, 0, 41), LogEntries: entries(id(5, 40), "a")}
				}
				require.NoError(t, log.Append(next), "it goes on: change %d, seed %d", at, seed)
				require.NoError(t, log.Close())
			}
		}
		require.Positive(t, seenOld)
		require.Positive(t, seenNew)
	}
}

// Whatever fails before the rename leaves the log as it was, and going on; and nothing of the new file.
func TestFaultsWhileAStateIsStreamed(t *testing.T) {
	text := stateOfSize(5*piece + 5000)
	for _, op := range []memfs.Op{memfs.Open, memfs.Write, memfs.Sync, memfs.Lock} {
		for n := 1; ; n++ {
			fsys := memfs.New()
			log := aged(t, fsys)
			fsys.Fail(op, n, errDisk)
			err := withState(log, inPieces(text, 70_000))
			if err == nil { // it would come later
				require.Greater(t, n, 1, "op %d was never called", op)
				break
			}
			require.ErrorIs(t, err, errDisk, "op %d, call %d", op, n)
			require.NoError(t, log.Err(), "op %d, call %d", op, n)
			_, err = fsys.ReadFile(path + ".new")
			require.Error(t, err, "op %d, call %d", op, n)
			require.NoError(t, log.Append(late(0)), "op %d, call %d", op, n)
			require.NoError(t, withState(log, inPieces([]byte("1"), 1), late(0)), "op %d, call %d", op, n)
			require.Equal(t, "1", userState(t, log))
			require.NoError(t, log.Close())
			require.Equal(t, "1", userStateOf(t, fsys))
		}
	}
}

func TestDiskFillsUpInTheMiddleOfAState(t *testing.T) {
	text := stateOfSize(3*piece + 5000)
	whole := int64(len(fileWith(t, text)))
	for _, room := range []int64{0, 10, 60, 200, 400, piece - 1, piece, piece + 300, 2 * piece, 3*piece + 2000, whole - 40, whole - 1} {
		fsys := memfs.New()
		log := aged(t, fsys)
		before, err := fsys.ReadFile(path)
		require.NoError(t, err)
		fsys.Space(room)
		require.ErrorIs(t, withState(log, inPieces(text, 70_000)), memfs.ErrNoSpace, "room for %d bytes", room)
		require.NoError(t, log.Err())
		_, err = fsys.ReadFile(path + ".new")
		require.Error(t, err, "it takes the room that the log needs")
		after, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after)
		fsys.Space(-1)
		require.NoError(t, log.Append(late(0)))
		require.NoError(t, withState(log, inPieces(text, 70_000), late(0)))
	}
}

// A state that is open stays what it was when the file is replaced, and to let go of it does not unlock the log.
func TestOpenStateOutlivesItsFile(t *testing.T) {
	real := filepath.Join(t.TempDir(), "log.jsonl")
	for _, c := range []struct {
		fs   storage.FS
		path string
	}{{storage.OS, real}, {memfs.New(), path}} {
		log, _, err := storage.Open(c.fs, c.path, "k3x9")
		require.NoError(t, err)
		_, err = log.OpenState()
		require.Error(t, err, "there is none yet")
		for _, r := range story() {
			require.NoError(t, log.Append(r))
		}
		old, now := stateOfSize(2*piece+1), append(stateOfSize(3*piece+2), ' ')
		require.NoError(t, withState(log, inPieces(old, piece)))

		state, err := log.OpenState()
		require.NoError(t, err)
		half := make([]byte, piece+7)
		_, err = io.ReadFull(state, half)
		require.NoError(t, err)
		r, err := log.BeginReplace()
		require.NoError(t, err)
		require.NoError(t, writeWith(r, inPieces(now, piece)))
		same(t, string(old), userState(t, log), "the new one has not taken its place")
		fresh, err := io.ReadAll(r.State())
		require.NoError(t, err)
		same(t, string(now), string(fresh))
		require.NoError(t, commit(log, r))
		rest, err := io.ReadAll(state)
		require.NoError(t, err)
		same(t, string(old), string(half)+string(rest))
		same(t, string(now), userState(t, log))
		require.NoError(t, state.Close())

		_, _, err = storage.Open(c.fs, c.path, "other")
		require.ErrorIs(t, err, storage.ErrLocked)
		require.NoError(t, log.Append(late(0)))
		require.NoError(t, log.Close())
	}
}

// TestBitFlippedUnderAnOpenLogIsNoticed: what a server reads of its own snapshot, to send it, is checked as well.
func TestBitFlippedUnderAnOpenLogIsNoticed(t *testing.T) {
	fsys := memfs.New()
	log, _ := open(t, fsys)
	require.NoError(t, log.Append(&wire.Record{Identity: identity()}))
	require.NoError(t, log.Replace(&wire.Record{Identity: identity()}, &wire.Record{Snapshot: snapshot(1, 7)}, &wire.Record{HardState: hard(1, 1, 7)}))
	read := func() error {
		state, err := log.OpenState()
		require.NoError(t, err)
		defer state.Close()
		_, err = io.ReadAll(state)
		return err
	}
	require.NoError(t, read())
	file, err := fsys.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(file, []byte("as of 7"))
	require.Positive(t, at)
	fsys.Flip(path, 8*at)
	require.ErrorContains(t, read(), "damaged")
}
