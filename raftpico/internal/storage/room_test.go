package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// busyLine is about the length of a line of busy: 197 to 209 bytes.
const busyLine = 200

// busy is a log with n small lines behind the first ones, and room behind these if they are many.
func busy(t testing.TB, fsys storage.FS, n int) *storage.Log {
	t.Helper()
	log, _ := open(t, fsys)
	require.NoError(t, log.Append(founding()))
	goOn(t, log, 2, n)
	return log
}

func goOn(t testing.TB, log *storage.Log, first uint64, n int) {
	t.Helper()
	for i := range uint64(n) {
		require.NoError(t, log.Append(batchLine(first+i, "v")))
	}
}

// roomOf splits what a log's file shows.
func roomOf(t testing.TB, fsys *memfs.FS, log *storage.Log) (lines, room []byte) {
	t.Helper()
	file, err := fsys.ReadFile(path)
	require.NoError(t, err)
	lines, room = file[:log.Size()], file[log.Size():]
	require.Zero(t, len(bytes.Trim(room, "\t")))
	require.EqualValues(t, '\n', lines[len(lines)-1])
	return lines, room
}

func TestLinesGoIntoTheRoomOfABusyLog(t *testing.T) {
	fsys := memfs.New()
	log, _ := open(t, fsys)
	began := log.Size()
	require.NoError(t, log.Append(founding()))
	grown, filler, size := 0, 0, 0
	for i := range uint64(4_000) {
		goOn(t, log, 2+i, 1)
		lines, room := roomOf(t, fsys, log)
		if size != len(lines)+len(room) {
			size = len(lines) + len(room)
			grown++
			filler += len(room)
		}
		require.LessOrEqual(t, len(room), 128<<10)
		require.LessOrEqual(t, len(room), int(log.Size()-began), "no more than the lines have grown by")
		require.LessOrEqual(t, filler, 2*int(log.Size()-began))
		if log.Size()-began < 4<<10 {
			require.Zero(t, len(room))
		}
	}
	require.Less(t, grown, 50, "the file grows seldom")
	require.NoError(t, log.Check())
	require.NoError(t, log.Close())
	_, room := roomOf(t, fsys, log)
	require.Zero(t, len(room), "a log that was closed has none")
}

func TestNoRoomBehindLargeLines(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, fsys, 100)
	for i := range uint64(100) {
		require.NoError(t, log.Append(batchLine(102+2*i, strings.Repeat("x", 70_000))))
		require.NoError(t, log.Append(batchLine(103+2*i, "v")))
		if i > 0 {
			_, room := roomOf(t, fsys, log)
			require.Zero(t, len(room))
		}
	}
}

func TestRoomIsCutAtRest(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, fsys, 100)
	require.NoError(t, log.Check())
	goOn(t, log, 102, 1)
	require.NoError(t, log.Check())
	lines, room := roomOf(t, fsys, log)
	require.Positive(t, len(room), "a line has come since")
	require.NoError(t, log.Check())
	now, room := roomOf(t, fsys, log)
	require.Zero(t, len(room))
	require.Equal(t, string(lines), string(now))
	goOn(t, log, 103, 18)
	_, room = roomOf(t, fsys, log)
	require.Zero(t, len(room), "few lines after rest have none")
	goOn(t, log, 121, 20)
	_, room = roomOf(t, fsys, log)
	require.Positive(t, len(room))
	require.NoError(t, log.Check())
}

// Whose copy of the file it is now, by a hard link, sees a log and nothing else.
func TestReplacedFileHasNoRoom(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, fsys, 100)
	fsys.Link(path, "/data/copy")
	lines, room := roomOf(t, fsys, log)
	require.Positive(t, len(room))
	require.NoError(t, log.Replace(&wire.Record{Identity: identity(), Snapshot: snapshot(1, 101), HardState: hard(1, 1, 101)}))
	file, err := fsys.ReadFile("/data/copy")
	require.NoError(t, err)
	require.Equal(t, string(lines), string(file))
	_, room = roomOf(t, fsys, log)
	require.Zero(t, len(room))
	goOn(t, log, 102, 10)
	_, room = roomOf(t, fsys, log)
	require.Zero(t, len(room))
}

// A disk that takes the line and not the filler fails nothing, and is not asked again and again.
func TestFillerThatFailsIsNoFailure(t *testing.T) {
	for name, order := range map[string]func(*memfs.FS){
		"write": func(f *memfs.FS) { f.Fail(memfs.Write, 2, errDisk) },
		"full":  func(f *memfs.FS) { f.Space(1000) },
	} {
		fsys := memfs.New()
		log := busy(t, fsys, 0)
		next := uint64(2)
		for i := 0; ; i++ { // until filler was tried
			order(fsys)
			changes := fsys.Changes()
			goOn(t, log, next, 1)
			next++
			fsys.Fail(memfs.Write, 0, nil)
			if _, room := roomOf(t, fsys, log); len(room) > 0 || fsys.Changes()-changes > 2 {
				break
			}
			require.Less(t, i, 100, name)
		}
		require.NoError(t, log.Check(), "%s: it knows how large the file is", name)
		fsys.Space(-1)
		goOn(t, log, next, 100)
		_, room := roomOf(t, fsys, log)
		require.Zero(t, len(room), "%s: it is not tried with every line", name)
		require.NoError(t, log.Check())
		require.NoError(t, log.Check())
		goOn(t, log, next+100, 100)
		_, room = roomOf(t, fsys, log)
		require.Positive(t, len(room), "%s: after rest it is", name)
		want := show(t, stateOf(t, log, fsys))
		fsys.Crash(chance(1))
		require.Equal(t, want, read(t, fsys))
	}
}

// What somebody has written behind the room is theirs.
func TestOthersBytesBehindTheRoomStay(t *testing.T) {
	for _, end := range []func(*storage.Log) error{(*storage.Log).Close, (*storage.Log).Check} {
		fsys := memfs.New()
		log := busy(t, fsys, 100)
		_, room := roomOf(t, fsys, log)
		require.Positive(t, len(room))
		file, err := fsys.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		size, err := file.Size()
		require.NoError(t, err)
		_, err = file.WriteAt([]byte("somebody's"), size)
		require.NoError(t, err)
		_ = end(log)
		_ = log.Close()
		now, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(now), "\tsomebody's"))
	}
}

// Of a line that is written over filler any sectors may reach the disk, of the filler behind it too. The others are what
// was durable there, or zeros, where the file was cut or is longer than what came.
func TestTornLineInRoom(t *testing.T) {
	for _, n := range []int{0, 10, 25, 30, 40, 47, 60, 100} {
		for _, size := range []int{1, 300, 800, 2000, 5000} {
			t.Run(fmt.Sprintf("%d lines and one of %d bytes", n, size), func(t *testing.T) {
				fsys := memfs.New()
				log := busy(t, fsys, n)
				before, err := fsys.ReadFile(path)
				require.NoError(t, err)
				end := int(log.Size())
				next := batchLine(uint64(2+n), strings.Repeat("x", size))
				require.NoError(t, log.Append(next))
				after, err := fsys.ReadFile(path)
				require.NoError(t, err)
				line := after[end:log.Size()]
				with := show(t, stateOf(t, log, fsys))
				alone := memfs.New()
				alone.WriteFile(path, before[:end])
				without := read(t, alone)

				rng := chance(uint64(n*1000 + size))
				for range 80 {
					disk := make([]byte, end+rng.IntN(len(after)-end+1))
					if rng.IntN(2) == 0 {
						disk = make([]byte, len(after))
					}
					copy(disk, before)
					odds := 1 + rng.IntN(4)
					for at := end / 512 * 512; at < len(disk); at += 512 {
						to := min(at+512, len(disk))
						switch rng.IntN(odds + 2) {
						case 0:
							clear(disk[max(at, end):to])
						case 1: // as it was
						default:
							copy(disk[at:to], after[at:])
						}
					}
					torn := memfs.New()
					torn.WriteFile(path, disk)
					report, err := storage.Inspect(torn, path, func(*storage.Line) error { return nil })
					require.NoError(t, err)
					require.NoError(t, report.Refused)
					log, state := open(t, torn)
					require.Equal(t, report.Cut, state.Cut)
					if record := line[:len(line)-1]; bytes.HasPrefix(disk[end:], record) {
						require.Equal(t, with, show(t, state))
						require.NoError(t, log.Close())
					} else {
						require.Equal(t, without, show(t, state))
						require.NoError(t, log.Append(next), "it goes on")
						require.NoError(t, log.Close())
						require.Equal(t, with, read(t, torn))
					}
					now, err := torn.ReadFile(path)
					require.NoError(t, err)
					require.Equal(t, string(after[:end])+string(line), string(now))
				}
			})
		}
	}
}

// No bit flipped at rest, in lines or in the room behind them, takes anything away that was acknowledged.
func TestNoFlippedBitHidesALineBeforeRoom(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, fsys, 40)
	lines, room := roomOf(t, fsys, log)
	require.Greater(t, len(room), 600)
	file := append(bytes.Clone(lines), room[:600]...)
	want := show(t, stateOf(t, log, fsys))
	for bit := 8 * (len(lines) - 2*busyLine); bit < 8*len(file); bit++ {
		fsys := memfs.New()
		fsys.WriteFile(path, file)
		fsys.Flip(path, bit)
		log, state, err := storage.Open(fsys, path, "k3x9")
		if bit/8 < len(lines)-1 {
			require.ErrorAs(t, err, new(*storage.DamageError), "bit %d", bit)
			continue
		}
		require.NoError(t, err, "bit %d", bit)
		fill(t, log, state)
		require.Equal(t, want, show(t, state), "bit %d", bit)
		require.NoError(t, log.Close())
	}
	both := bytes.Clone(file)
	both[len(lines)-1] ^= 1
	both[len(lines)+500] ^= 1
	fsys = memfs.New()
	fsys.WriteFile(path, both)
	_, _, err := storage.Open(fsys, path, "k3x9")
	require.ErrorAs(t, err, new(*storage.DamageError), "a newline and something behind it have gone: no crash does that")
}

// The power goes off in every change of a life with room: while it is made, in it, behind it, when it is cut.
func TestPowerCutAtEveryChangeWithRoom(t *testing.T) {
	live := func(fsys *memfs.FS) (acked uint64, err error) {
		log, _, err := storage.Open(fsys, path, "k3x9")
		if err != nil {
			return 0, err
		}
		if err = log.Append(founding()); err != nil {
			return 0, err
		}
		acked = 1
		for i := range uint64(90) {
			value := strings.Repeat("x", int(i*i*i%7)*300)
			if i == 70 {
				value = strings.Repeat("x", 70_000)
			}
			if err = log.Append(batchLine(2+i, value)); err != nil {
				return acked, err
			}
			acked++
			if i%20 == 15 || i%20 == 17 || i == 16 {
				_ = log.Check()
			}
			if i == 40 {
				if err = log.Close(); err == nil {
					log, _, err = storage.Open(fsys, path, "k3x9")
				}
				if err != nil {
					return acked, err
				}
			}
		}
		return acked, log.Close()
	}
	whole := memfs.New()
	acked, err := live(whole)
	require.NoError(t, err)
	require.EqualValues(t, 91, acked)
	for at := range whole.Changes() {
		for seed := range uint64(8) {
			fsys := memfs.New()
			fsys.PowerOff(at)
			acked, _ := live(fsys)
			fsys.Crash(chance(uint64(at)*100 + seed))
			if acked == 0 {
				continue
			}
			log, state, err := storage.Open(fsys, path, "k3x9")
			require.NoError(t, err, "change %d, seed %d", at, seed)
			last := 1 + uint64(len(state.Entries))
			require.True(t, last == acked || last == acked+1, "change %d, seed %d: %d of %d", at, seed, last, acked)
			goOn(t, log, last+1, 50)
			require.NoError(t, log.Close())
			read(t, fsys)
		}
	}
}

// A truncate may fail when it has cut the file.
func TestRoomThatIsCutByAFailure(t *testing.T) {
	fsys := memfs.New()
	log := busy(t, cutting{fsys}, 100)
	require.NoError(t, log.Check())
	require.NoError(t, log.Check())
	_, room := roomOf(t, fsys, log)
	require.Zero(t, len(room))
	require.NoError(t, log.Check(), "nobody else has cut it")
	goOn(t, log, 102, 100)
	require.NoError(t, log.Close())
}

// cutting is a file system on which truncates fail when they are done.
type cutting struct{ storage.FS }

func (c cutting) OpenFile(name string, flag int, perm os.FileMode) (storage.File, error) {
	file, err := c.FS.OpenFile(name, flag, perm)
	return cuttingFile{file}, err
}

type cuttingFile struct{ storage.File }

func (f cuttingFile) Truncate(size int64) error { return errors.Join(f.File.Truncate(size), errDisk) }
