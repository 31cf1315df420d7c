package storage_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// longRecord is a record whose line goes to the file in pieces.
func longRecord(sizes ...int) *wire.Record {
	kinds := []string{"start"}
	for _, size := range sizes {
		kinds = append(kinds, strings.Repeat("x", size))
	}
	return &wire.Record{HardState: hard(2, 1, 1), LogEntries: entries(id(1, 1), kinds...)}
}

func TestLongLineIsTheSameLine(t *testing.T) {
	const piece = 256 << 10
	for _, sizes := range [][]int{{4 * piece}, {4*piece - 400}, {5 * piece, 10, 20}, {10, 4*piece + 1, piece / 2, piece / 2}, {100, piece - 1000, 100, 100, 4 * piece},
		{9*piece + 100}, {2 * piece}, {10, piece, piece - 100, 10, 4*piece - 30}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			fsys := memfs.New()
			log, _ := open(t, fsys)
			require.NoError(t, log.Append(founding()))
			before := log.Size()
			r := longRecord(sizes...)
			require.NoError(t, log.Append(r))
			require.NoError(t, log.Append(&wire.Record{HardState: hard(3, 0, 2)}), "the chain of crcs goes on")
			file, err := fsys.ReadFile(path)
			require.NoError(t, err)
			want, err := wire.AppendRecord(nil, r)
			require.NoError(t, err)
			line, _, _ := bytes.Cut(file[before:], []byte("\n"))
			require.True(t, bytes.Equal(want[:len(want)-1], line[:len(line)-storage.TailLen]))
			require.Equal(t, int64(len(file)), log.Size())
			state := stateOf(t, log, fsys)
			require.Len(t, state.Entries, len(sizes)+1)
			require.Zero(t, state.Cut)
		})
	}
}

// The power goes off in every change of a long line. It is there if it was acknowledged, and never in part.
func TestLongLineIsWholeOrCut(t *testing.T) {
	cuts := 0
	for n := 0; ; n++ {
		acked := false
		for seed := range uint64(8) {
			fsys := memfs.New()
			log, _ := open(t, fsys)
			require.NoError(t, log.Append(founding()))
			fsys.PowerOff(n)
			acked = log.Append(longRecord(600<<10, 600<<10)) == nil
			fsys.Crash(chance(seed))
			log, state, err := storage.Open(fsys, path, "k3x9")
			require.NoError(t, err, "power off in change %d, seed %d", n, seed)
			if acked || len(state.Entries) > 0 {
				require.Len(t, state.Entries, 3)
			}
			if state.Cut > 0 {
				cuts++
			}
			require.NoError(t, log.Close())
		}
		if acked {
			require.Greater(t, n, 5, "it is written in pieces")
			require.Positive(t, cuts)
			return
		}
	}
}

func TestLongLineThatFails(t *testing.T) {
	for name, r := range map[string]*wire.Record{
		"newline":   longRecord(1200 << 10),
		"rules":     {HardState: hard(2, 1, 1), LogEntries: entries(id(1, 7), strings.Repeat("x", 1200<<10))},
		"full disk": longRecord(1200 << 10),
		"write":     longRecord(1200 << 10),
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			log, _ := open(t, fsys)
			require.NoError(t, log.Append(founding()))
			size := log.Size()
			switch name {
			case "newline":
				r.LogEntries.Entries[1].Data[500<<10] = '\n'
			case "full disk":
				fsys.Space(400 << 10)
			case "write":
				fsys.Fail(memfs.Write, 2, errDisk)
			}
			err := log.Append(r)
			require.Error(t, err)
			require.Equal(t, err, log.Append(&wire.Record{HardState: hard(3, 0, 1)}), "it is dead")
			if name == "rules" {
				file, err := fsys.ReadFile(path)
				require.NoError(t, err)
				require.Len(t, file, int(size), "what is against the rules is not written")
			}
			fsys.Space(-1)
			require.Empty(t, stateOf(t, log, fsys).Entries)
		})
	}
}
