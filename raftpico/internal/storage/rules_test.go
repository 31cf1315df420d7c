package storage_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Each row is a log and one more line; want is part of the refusal, none if it may come. Append and Open agree.
func TestRules(t *testing.T) {
	type records = []*wire.Record
	log := func(more ...*wire.Record) records {
		return append(records{founding(), {HardState: hard(2, 1, 3), LogEntries: entries(id(1, 1), "start", "a", "b", "c")}}, more...)
	}
	snap := func(more ...*wire.Record) records {
		return append(records{{Identity: identity()}, {Snapshot: snapshot(2, 7), HardState: hard(2, 1, 7)}}, more...)
	}
	for _, c := range []struct {
		name string
		have records
		line *wire.Record
		want string
	}{
		{"a second header", nil, &wire.Record{Header: &wire.Header{Format: 1}}, "header"},
		{"a second identity", log(), &wire.Record{Identity: identity()}, "second identity"},
		{"hard state before identity", nil, &wire.Record{HardState: hard(1, 0, 0)}, "without an identity"},
		{"snapshot before identity", nil, &wire.Record{Snapshot: snapshot(1, 1), HardState: hard(1, 1, 1)}, "without an identity"},
		{"a joiner's first vote", records{{Identity: identity()}}, &wire.Record{HardState: hard(1, 3, 0)}, ""},

		{"term back", log(), &wire.Record{HardState: hard(1, 1, 3)}, "term 1 after term 2"},
		{"commit back", log(), &wire.Record{HardState: hard(2, 1, 2)}, "commit 2 after commit 3"},
		{"commit above the last entry", log(), &wire.Record{HardState: hard(2, 1, 6)}, "above the last entry"},
		{"commit at the last entry", log(), &wire.Record{HardState: hard(2, 1, 5)}, ""},
		{"another vote", log(), &wire.Record{HardState: hard(2, 3, 3)}, "a vote for 3 after one for 1"},
		{"a vote taken back", log(), &wire.Record{HardState: hard(2, 0, 3)}, "a vote for 0"},
		{"a vote in a new term", log(), &wire.Record{HardState: hard(3, 3, 3)}, ""},

		{"entries at the end", log(), &wire.Record{HardState: hard(2, 1, 6), LogEntries: entries(id(2, 5), "d")}, ""},
		{"entries without a hard state", log(), &wire.Record{LogEntries: entries(id(2, 5), "d")}, "without a hard state"},
		{"a gap", log(), &wire.Record{HardState: hard(2, 1, 3), LogEntries: entries(id(2, 6), "d")}, "does not have"},
		{"prev of another term", log(), &wire.Record{HardState: hard(2, 1, 3), LogEntries: entries(id(1, 5), "d")}, "does not have"},
		{"prev below the log", log(), &wire.Record{HardState: hard(2, 1, 3), LogEntries: entries(id(0, 0), "d")}, "does not have"},
		{"replaced above commit", log(), &wire.Record{HardState: hard(3, 3, 4), LogEntries: entries(id(2, 3), "start")}, ""},
		{"replaced at commit", log(), &wire.Record{HardState: hard(3, 3, 3), LogEntries: entries(id(2, 2), "start")}, "are committed"},
		{"replaced and committed at once", log(), &wire.Record{HardState: hard(3, 3, 6), LogEntries: entries(id(2, 4), "start", "d")}, ""},
		{"replaced, and commit above the new end", log(), &wire.Record{HardState: hard(3, 3, 5), LogEntries: entries(id(2, 3), "start")}, "above the last entry"},
		{"term of a replaced entry", log(&wire.Record{HardState: hard(3, 3, 3), LogEntries: entries(id(2, 3), "start")}),
			&wire.Record{HardState: hard(3, 3, 3), LogEntries: entries(id(2, 4), "d")}, "does not have"},
		{"an entry of a later term", log(), &wire.Record{HardState: hard(2, 1, 3), LogEntries: entries(id(2, 5), "start")}, "below the last entry's"},

		{"a snapshot of the future", log(), &wire.Record{Snapshot: snapshot(2, 9), HardState: hard(2, 1, 9)}, ""},
		{"a snapshot below commit", log(), &wire.Record{Snapshot: snapshot(2, 2)}, "below commit 3"},
		{"a snapshot of nothing", nil, &wire.Record{Identity: identity(), Snapshot: snapshot(0, 0)}, "snapshot at index 0"},
		{"a snapshot of a later term", snap(), &wire.Record{Snapshot: snapshot(3, 9)}, "below the last entry's"},
		{"trailing entries", snap(), &wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(1, 4), "start", "a", "b", "c")}, ""},
		{"trailing entries up to the snapshot", snap(), &wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(2, 4), "a", "b", "c")}, ""},
		{"trailing entries that end below it", snap(), &wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(2, 4), "a", "b")}, "before the snapshot"},
		{"trailing entries of another history", snap(), &wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(1, 4), "a", "b", "c")}, "the snapshot there has term 2"},
		{"trailing entries too late", snap(&wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(2, 7), "a")}),
			&wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(2, 4), "a", "b", "c")}, "does not have"},
		{"no trailing entries", snap(), &wire.Record{HardState: hard(2, 1, 8), LogEntries: entries(id(2, 7), "a")}, ""},
		{"a gap behind a snapshot", snap(), &wire.Record{HardState: hard(2, 1, 8), LogEntries: entries(id(2, 8), "a")}, "does not have"},
		{"a cut into the snapshot", snap(&wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(2, 4), "a", "b", "c", "d")}),
			&wire.Record{HardState: hard(2, 1, 7), LogEntries: entries(id(2, 6), "a", "b")}, "are committed"},
		{"indexes at the end of all", records{{Identity: identity(), Snapshot: snapshot(1, math.MaxUint64), HardState: hard(1, 0, 0)}},
			&wire.Record{HardState: hard(1, 0, 0), LogEntries: entries(id(1, math.MaxUint64), "a")}, "past the last index"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := memfs.New()
			log, _ := open(t, fsys)
			for _, r := range c.have {
				require.NoError(t, log.Append(r))
			}
			before, err := fsys.ReadFile(path)
			require.NoError(t, err)
			err = log.Append(c.line)
			require.NoError(t, log.Close())
			if c.want == "" {
				require.NoError(t, err)
				read(t, fsys)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Equal(t, err, log.Append(&wire.Record{HardState: hard(9, 0, 9)}), "a dead log stays dead")
			after, err := fsys.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after, "a refused record was written")

			fsys.WriteFile(path, sealed(t, append(append(records{{Header: &wire.Header{Format: 1, Instance: "k3x9"}}}, c.have...), c.line)...))
			_, _, err = storage.Open(fsys, path, "k3x9")
			var damage *storage.DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, len(c.have)+2, damage.Line)
			require.Contains(t, damage.Reason, c.want)
		})
	}
}

func TestCommitIsAtLeastTheSnapshot(t *testing.T) {
	fsys := memfs.New()
	log, _ := open(t, fsys)
	require.NoError(t, log.Append(&wire.Record{Identity: identity(), Snapshot: snapshot(1, 7), HardState: hard(1, 1, 5)}))
	require.NoError(t, log.Close())
	_, state := open(t, fsys)
	require.EqualValues(t, 7, state.HardState.Commit)
}

func TestRecordWithANewlineIsRefused(t *testing.T) {
	log, _ := open(t, memfs.New())
	r := founding()
	r.Snapshot.Machines.User = []byte("{\n}")
	require.ErrorContains(t, log.Append(r), "newline")
}

// sealed writes a file by the format's description, whatever the records say.
func sealed(t testing.TB, records ...*wire.Record) (file []byte) {
	var lines [][]byte
	for _, r := range records {
		b, err := wire.AppendRecord(nil, r)
		require.NoError(t, err)
		lines = append(lines, b[:len(b)-1])
	}
	return chained(lines...)
}

func chained(bodies ...[]byte) (file []byte) {
	crc := uint32(0)
	for _, body := range bodies {
		sum := binary.BigEndian.AppendUint32(nil, crc)
		crc = crc32.Checksum(append(sum, body...), crc32.MakeTable(crc32.Castagnoli))
		file = fmt.Appendf(file, "%s,\"crc\":\"%08x\"}\n", body, crc)
	}
	return file
}
