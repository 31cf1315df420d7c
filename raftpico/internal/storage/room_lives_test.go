package storage_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

var lives = flag.Uint64("lives", 40, "how many lives of a log to look at")

// life is a log that its disk, its machine and its process end again and again.
type life struct {
	rng    *rand.Rand
	fsys   *memfs.FS
	log    *storage.Log
	values map[uint64]string // of entries that were appended, or were about to be
	acked  uint64            // the last entry that was
	told   []string          // what happened, for a failure
}

// Whatever ends a log, with room behind its lines or without, and however often: the next one has all lines that were
// acknowledged, as they were, and at most one more.
func TestLogsLiveOn(t *testing.T) {
	for seed := range *lives {
		l := &life{rng: chance(seed), fsys: memfs.New(), values: map[uint64]string{}}
		log, _ := open(t, l.fsys)
		require.NoError(t, log.Append(founding()))
		l.log, l.acked = log, 1
		for range 20 {
			l.live()
			l.die()
			l.rise(t, seed)
		}
		require.NoError(t, l.log.Close())
	}
}

// live appends, rests and replaces the file, until something breaks or it has been enough.
func (l *life) live() {
	n := 1 + l.rng.IntN(150)
	switch l.rng.IntN(6) {
	case 0, 4:
		l.fsys.PowerOff(l.rng.IntN(3 * n))
	case 1:
		l.fsys.Fail(memfs.Sync, 1+l.rng.IntN(n), errDisk)
	case 2:
		l.fsys.Fail(memfs.Write, 1+l.rng.IntN(n), errDisk)
	case 3:
		l.fsys.Space(l.rng.Int64N(int64(n) * 400))
	}
	largest := []int{1, 30, 600, 2_000, 3_000, 5_000, 20_000, 300_000}[l.rng.IntN(8)]
	for range n {
		if l.log.Err() != nil {
			return
		}
		switch l.rng.IntN(40) {
		case 0:
			_, _ = l.log.Check(), l.log.Check()
		case 1:
			_ = l.log.Check()
		case 2:
			at := l.acked
			if l.rng.IntN(4) == 0 {
				_ = l.log.Replace(&wire.Record{Identity: identity(), Snapshot: snapshot(1, at), HardState: hard(1, 1, at)})
				l.tell("replaced at %d", at)
			}
		default:
			next := l.acked + 1
			r := batchLine(next, strings.Repeat(string(rune('a'+next%26)), l.rng.IntN(largest)))
			l.values[next] = string(r.LogEntries.Entries[0].GetData())
			if err := l.log.Append(r); err != nil {
				l.tell("append of %d: %v", next, err)
				return
			}
			l.acked = next
		}
	}
}

// die ends the process or the machine, also in the middle of something: a process that is killed there is one whose file system
// takes no more calls, but forgets nothing.
func (l *life) die() {
	switch l.rng.IntN(4) {
	case 0:
		err := l.log.Close()
		l.tell("closed at %d: %v", l.acked, err)
		l.fsys.Kill()
	case 1:
		l.tell("killed at %d", l.acked)
		l.fsys.Kill()
	default:
		l.tell("crashed at %d", l.acked)
		l.fsys.Crash(l.rng)
	}
	l.fsys.Space(-1)
	l.fsys.PowerOff(-1)
	l.fsys.Fail(memfs.Sync, 0, nil)
	l.fsys.Fail(memfs.Write, 0, nil)
}

// rise opens the log, perhaps at the second or third attempt, and looks at what it holds.
func (l *life) rise(t *testing.T, seed uint64) {
	t.Helper()
	for attempt := 0; ; attempt++ {
		report, err := storage.Inspect(l.fsys, path, func(*storage.Line) error { return nil })
		require.NoError(t, errors.Join(err, report.Refused), "life %d: %v", seed, l.told)
		if attempt < 3 && l.rng.IntN(3) == 0 {
			l.fsys.PowerOff(l.rng.IntN(8))
		}
		log, state, err := storage.Open(l.fsys, path, "k3x9")
		if errors.Is(err, memfs.ErrPowerOff) {
			if l.tell("ended in Open"); l.rng.IntN(2) == 0 {
				l.fsys.Kill()
			} else {
				l.fsys.Crash(l.rng)
			}
			l.fsys.PowerOff(-1)
			continue
		}
		require.NoError(t, err, "life %d: %v", seed, l.told)
		l.fsys.PowerOff(-1)
		last := state.Prev.Index + uint64(len(state.Entries))
		require.True(t, last == l.acked || last == l.acked+1, "life %d: it ends at %d, and acknowledged is %d: %v", seed, last, l.acked, l.told)
		for i, e := range state.Entries {
			require.Equal(t, l.values[state.Prev.Index+1+uint64(i)], string(e.GetData()), "life %d: %v", seed, l.told)
		}
		l.log, l.acked = log, last
		return
	}
}

func (l *life) tell(format string, args ...any) {
	l.told = append(l.told, fmt.Sprintf(format, args...))
}
