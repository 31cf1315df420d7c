package storage_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// FuzzOpen opens any bytes. With seal, each line but the last gets the crc that fits, so that the rules behind it are
// reached too. What opens can be appended to, and opens again to the same and the addition. Room behind a file changes
// nothing of what it says, nor whether it is refused.
func FuzzOpen(f *testing.F) {
	for n := range len(story()) + 1 {
		file, _, _ := written(f, story()[:n]...)
		f.Add(file, false)
		f.Add(file[:len(file)-5], false)
		f.Add(bytes.ReplaceAll(file, []byte(`"index":1`), []byte(`"index":18446744073709551615`)), true)
		f.Add(file, true)
		f.Add(append(bytes.Clone(file[:len(file)*3/4]), bytes.Repeat([]byte{'\t'}, 600)...), false)
	}
	f.Add(sealed(f, append([]*wire.Record{{Header: &wire.Header{Format: 1, Instance: "a"}}}, successor()...)...), true)
	for _, g := range goldens() {
		f.Add(g.content(f), false)
	}
	f.Fuzz(func(t *testing.T, file []byte, seal bool) {
		if seal {
			file = reseal(file)
		}
		fsys := memfs.New()
		fsys.WriteFile(path, file)
		report, inspectErr := storage.Inspect(fsys, path, func(*storage.Line) error { return nil })
		require.NoError(t, inspectErr)
		if end := bytes.LastIndexByte(file, '\n') + 1; end > 0 && end == len(file) {
			roomy := memfs.New()
			roomy.WriteFile(path, append(bytes.Clone(file), '\t', '\t', '\t'))
			same, err := storage.Inspect(roomy, path, func(*storage.Line) error { return nil })
			require.NoError(t, err)
			require.Equal(t, report, same)
		}
		log, state, err := storage.Open(fsys, path, "k3x9")
		require.Equal(t, err, report.Refused)
		if err != nil {
			require.True(t, errors.Is(err, storage.ErrFormat) || errors.As(err, new(*storage.DamageError)), "%v", err)
			now, _ := fsys.ReadFile(path)
			require.Equal(t, file, now, "a refused file was changed")
			return
		}
		require.Equal(t, report.Cut, state.Cut)
		fill(t, log, state)
		next := &wire.Record{HardState: hard(max(state.HardState.Term, 1<<63), 0, state.HardState.Commit)}
		if next.HardState.Term == state.HardState.Term {
			next.HardState.Vote = state.HardState.Vote
		}
		if state.Identity == nil {
			next.Identity, state.Identity = identity(), identity()
		}
		require.NoError(t, log.Append(next))
		require.NoError(t, log.Close())
		state.HardState = *next.HardState
		want := show(t, state)
		require.Equal(t, want, read(t, fsys))
		fsys.Crash(chance(uint64(len(file))))
		require.Equal(t, want, read(t, fsys))
	})
}

// reseal chains the lines of a file anew; what it can't take apart is dropped.
func reseal(file []byte) []byte {
	var bodies [][]byte
	for line := range bytes.SplitSeq(file, []byte{'\n'}) {
		if at := bytes.LastIndex(line, []byte(`,"crc":"`)); at > 0 {
			bodies = append(bodies, line[:at])
		}
	}
	return chained(bodies...)
}
