package storage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// FuzzState writes a snapshot's line in pieces and at once: the files are the same, and what was written is read, also
// after a power cut. A line that lost or changed a byte is not taken for good. With long, the state is larger than a
// piece of reading and writing.
func FuzzState(f *testing.F) {
	for _, state := range []string{
		`null`, `{}`, `{"a":1}`, `"}},\"crc\":\"00000000\""`, `{"user":{"user":1}}`, `[",\"user\":"]`, `{"Snapshot":{"machines":{"system":{},"user":1}}}`, `-1.5e3`,
	} {
		f.Add([]byte(`{"members":{}}`), []byte(state), 1, false, uint32(50))
		f.Add([]byte(`{"a":",\"user\":1"}`), []byte(state), 7, false, uint32(1<<20))
	}
	// What sessions keep may look like a state, and be long.
	kept := `{"members":{},"sessions":[{"outcomes":[{"result":{"id":1,"user":"bob"}},{"error":{"data":{"a":[],"machines":{"system":{},"user":1}}}}]}]}`
	f.Add([]byte(kept), []byte(`{"user":{},"user":2}`), 5, false, uint32(300))
	f.Add([]byte(`[`+kept+strings.Repeat(`,`+kept, 30_000)+`]`), []byte(`{"a":1,"user":2}`), 1000, false, uint32(3<<20))
	f.Add([]byte(`{"members":{}}`), []byte(`{"a":1}`), 1000, true, uint32(1<<20))
	f.Add([]byte(`{"members":{}}`), []byte(`{"a":1}`), 2<<20, true, uint32(60))
	f.Fuzz(func(t *testing.T, system, state []byte, piece int, long bool, damage uint32) {
		if !json.Valid(system) || !json.Valid(state) || bytes.ContainsRune(slices.Concat(system, state), '\n') {
			return // the server writes nothing else
		}
		if long {
			state = slices.Concat([]byte(`["`), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), []byte(`",`), state, []byte(`]`))
			piece = max(piece, 1000)
		}
		piece = max(piece, 1)
		snap := snapshot(4, 6)
		snap.Machines.System, snap.Machines.User = system, state
		rest := &wire.Record{HardState: hard(4, 5, 6)}

		atOnce := memfs.New()
		log := aged(t, atOnce)
		require.NoError(t, log.Replace(&wire.Record{Identity: identity()}, &wire.Record{Snapshot: snap}, rest))
		require.NoError(t, log.Close())
		want, err := atOnce.ReadFile(path)
		require.NoError(t, err)

		fsys := memfs.New()
		log = aged(t, fsys)
		r, err := log.BeginAnew()
		require.NoError(t, err)
		require.NoError(t, r.Write(&wire.Record{Identity: identity()}))
		w := r.BeginState(snap)
		for some := range slices.Chunk(state, piece) {
			_, err = w.Write(some)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.EqualValues(t, len(state), w.Size())
		back, err := io.ReadAll(r.State())
		require.NoError(t, err)
		require.True(t, bytes.Equal(state, back), "the state before the file is in place")
		require.NoError(t, r.Write(rest))
		require.NoError(t, commit(log, r))
		require.NoError(t, log.Close())
		got, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "in pieces the line is another one")

		fsys.Crash(chance(uint64(piece)))
		log, st := open(t, fsys)
		require.NoError(t, log.Close())
		require.Equal(t, id(4, 6), st.Snapshot.LastIncluded)
		require.Equal(t, string(bytes.TrimSpace(system)), string(st.Snapshot.Machines.System))
		require.True(t, bytes.Equal(state, st.Snapshot.Machines.User), "the state as it is read")

		bad := bytes.Clone(got)
		bad[int(damage)%(len(bad)-1)] ^= 1 // not the last newline
		fsys.WriteFile(path, bad)
		_, _, err = storage.Open(fsys, path, "k3x9")
		require.True(t, errors.Is(err, storage.ErrFormat) || errors.As(err, new(*storage.DamageError)), "a changed byte: %v", err)
	})
}
