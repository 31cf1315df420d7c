package storage_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

func TestNewFileHoldsTheHeaderOfThePackageComment(t *testing.T) {
	fsys := memfs.New()
	log, state := open(t, fsys)
	require.Equal(t, wire.Header{Format: 1, Instance: "k3x9"}, state.Header)
	require.Zero(t, state.Cut)
	require.NoError(t, log.Close())
	file, err := fsys.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `{"Header":{"format":1,"instance":"k3x9"},"crc":"75788e24"}`+"\n", string(file))
	require.Equal(t, sealed(t, &wire.Record{Header: &state.Header}), file)
	require.EqualValues(t, len(file), log.Size())
}

func TestInstanceIsThatOfTheFile(t *testing.T) {
	fsys := memfs.New()
	read(t, fsys)
	_, state, err := storage.Open(fsys, path, "other")
	require.NoError(t, err)
	require.Equal(t, "k3x9", state.Header.Instance)
}

func TestStateIsWhatTheLinesSay(t *testing.T) {
	fsys := memfs.New()
	log, _ := open(t, fsys)
	for _, r := range story() {
		require.NoError(t, log.Append(r))
	}
	size := log.Size()
	require.NoError(t, log.Close())
	log, state := open(t, fsys)
	require.Equal(t, size, log.Size())
	require.Equal(t, identity(), state.Identity)
	require.Equal(t, snapshot(1, 1), state.Snapshot)
	require.Equal(t, *hard(4, 5, 6), state.HardState)
	require.Equal(t, id(1, 1), state.Prev)
	var places []wire.EntryID
	for _, e := range state.Entries {
		places = append(places, id(e.GetTerm(), e.GetIndex()))
	}
	require.Equal(t, []wire.EntryID{id(2, 2), id(2, 3), id(3, 4), id(4, 5), id(4, 6), id(4, 7), id(4, 8), id(4, 9)}, places)
}

func TestCutAtEveryByteLosesNoWholeLine(t *testing.T) {
	file, states, ends := written(t, story()...)
	empty := states[0]
	for n := range len(file) + 1 {
		line := 0 // the last whole one; its newline may be missing
		for line < len(ends) && ends[line]-1 <= n {
			line++
		}
		fsys := memfs.New()
		fsys.WriteFile(path, file[:n])
		log, state, err := storage.Open(fsys, path, "k3x9")
		require.NoError(t, err, "cut at %d", n)
		want, end := empty, 0
		if line > 0 {
			want, end = states[line-1], min(n, ends[line-1])
		}
		fill(t, log, state)
		require.Equal(t, want, show(t, state), "cut at %d", n)
		require.EqualValues(t, n-end, state.Cut, "cut at %d", n)
		for _, r := range story()[max(0, line-1):] {
			require.NoError(t, log.Append(r), "cut at %d", n)
		}
		now, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, file, now, "what goes on after a cut at %d is as if there had been none", n)
	}
}

func TestNoFlippedBitChangesTheState(t *testing.T) {
	for n := range len(story()) + 1 {
		file, states, _ := written(t, story()[:n]...)
		flipEvery(t, file, states[n])
	}
}

func flipEvery(t *testing.T, file []byte, want string) {
	for bit := range 8 * len(file) {
		fsys := memfs.New()
		fsys.WriteFile(path, file)
		fsys.Flip(path, bit)
		flipped, err := fsys.ReadFile(path)
		require.NoError(t, err)
		log, state, err := storage.Open(fsys, path, "k3x9")
		if err == nil {
			fill(t, log, state)
			require.Equal(t, want, show(t, state), "bit %d", bit)
			require.Equal(t, len(file)-1, bit/8, "only the last newline can be mended")
			continue
		}
		if !errors.Is(err, storage.ErrFormat) || bit/8 > len(`{"Header":{"format":1`) {
			require.ErrorAs(t, err, new(*storage.DamageError), "bit %d", bit)
		}
		now, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, flipped, now, "bit %d: a refused file was changed", bit)
	}
}

func TestLastLineWithBadCRC(t *testing.T) {
	records := story()
	file, states, ends := written(t, records...)
	last := ends[len(ends)-2] // where it begins
	before := states[len(states)-2]
	broken := func(change func(line []byte) []byte) []byte {
		return append(bytes.Clone(file[:last]), change(bytes.Clone(file[last:]))...)
	}
	zero := func(b []byte) { clear(b) }
	for _, c := range []struct {
		name string
		file []byte
		cut  bool
	}{
		{"all zeros", broken(func(l []byte) []byte { zero(l); return l }), true},
		{"one sector of zeros, newline there", broken(func(l []byte) []byte { s := 1024 - last; zero(l[s : s+512]); return l }), true},
		{"512 zeros anywhere", broken(func(l []byte) []byte { zero(l[300:812]); return l }), true},
		{"zeros up to the first sector's end", broken(func(l []byte) []byte { zero(l[:(last/512+1)*512-last]); return l }), true},
		{"zeros short of that", broken(func(l []byte) []byte { zero(l[:(last/512+1)*512-last-1]); return l }), false},
		{"511 zeros", broken(func(l []byte) []byte { zero(l[300:811]); return l }), false},
		{"a wrong byte", broken(func(l []byte) []byte { l[99]++; return l }), false},
		{"a wrong byte, no newline", broken(func(l []byte) []byte { l[99]++; return l[:len(l)-1] }), true},
		{"no crc", broken(func(l []byte) []byte { return []byte("{}\n") }), false},
		{"blank", broken(func(l []byte) []byte { return []byte("\n") }), false},
		{"upper-case crc", broken(func(l []byte) []byte {
			return append(l[:len(l)-11], bytes.ToUpper(l[len(l)-11:])...)
		}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := memfs.New()
			fsys.WriteFile(path, c.file)
			log, state, err := storage.Open(fsys, path, "k3x9")
			if !c.cut {
				var damage *storage.DamageError
				require.ErrorAs(t, err, &damage)
				require.Equal(t, len(ends), damage.Line)
				require.EqualValues(t, last, damage.Offset)
				return
			}
			require.NoError(t, err)
			fill(t, log, state)
			require.Equal(t, before, show(t, state))
			require.EqualValues(t, len(c.file)-last, state.Cut)
		})
	}
}

func TestBadLineBeforeAnotherIsDamage(t *testing.T) {
	file, _, ends := written(t, story()...)
	for name, bad := range map[string][]byte{
		"zeros":         append(append(bytes.Clone(file[:ends[2]]), make([]byte, 4096)...), file[ends[2]:]...),
		"a lost line":   append(bytes.Clone(file[:ends[2]]), file[ends[3]:]...),
		"a line twice":  append(bytes.Clone(file[:ends[3]]), file[ends[2]:]...),
		"a short line":  append(bytes.Clone(file[:ends[3]-5]), file[ends[3]-1:]...),
		"a blank line":  append(append(bytes.Clone(file[:ends[2]]), '\n'), file[ends[2]:]...),
		"an older file": append(bytes.Clone(file[:ends[1]]), file[ends[4]:]...),
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			fsys.WriteFile(path, bad)
			_, _, err := storage.Open(fsys, path, "k3x9")
			var damage *storage.DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, path, damage.File)
			for _, part := range []string{path, "line ", "byte ", "remove this server", "delete the file", "add the server again"} {
				require.Contains(t, err.Error(), part)
			}
		})
	}
}

func TestFirstLine(t *testing.T) {
	file, states, _ := written(t)
	for _, c := range []struct {
		name, file string
		want       string // part of the error; none: the file is made anew
	}{
		{"torn", string(file[:20]), ""},
		{"zeros", string(make([]byte, 60)), ""},
		{"torn and zeros", string(file[:9]) + string(make([]byte, 40)), ""},
		{"somebody's text", "dear diary", "does not begin with a header"},
		{"somebody's JSON", `{"Head":1}` + "\n", "does not begin with a header"},
		{"somebody's zeros", string(make([]byte, 5000)), "does not begin with a header"},
		{"blank", "\n", "does not begin with a header"},
		{"newer", `{"Header":{"format":2,"instance":"k3x9"},"check":"sha"}` + "\n", "its format is 2, this program's 1"},
		{"bad", strings.Replace(string(file), "k3", "K3", 1), "damaged: line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := memfs.New()
			fsys.WriteFile(path, []byte(c.file))
			log, state, err := storage.Open(fsys, path, "k3x9")
			now, _ := fsys.ReadFile(path)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				require.Equal(t, c.file, string(now))
				return
			}
			require.NoError(t, err)
			fill(t, log, state)
			require.Equal(t, states[0], show(t, state))
			require.Equal(t, string(file), string(now))
			require.EqualValues(t, len(c.file), state.Cut)
		})
	}
}

func TestInspectTellsWhatOpenWouldDo(t *testing.T) {
	file, _, ends := written(t, story()...)
	inspect := func(data []byte) (storage.Report, []storage.Line) {
		fsys := memfs.New()
		fsys.WriteFile(path, data)
		var lines []storage.Line
		report, err := storage.Inspect(fsys, path, func(l *storage.Line) error {
			text, err := io.ReadAll(l.Text())
			require.NoError(t, err)
			require.Equal(t, string(data[l.Offset:l.Offset+int64(len(text))]), string(text))
			lines = append(lines, *l)
			return nil
		})
		require.NoError(t, err)
		now, _ := fsys.ReadFile(path)
		require.Equal(t, data, now)
		return report, lines
	}

	report, lines := inspect(file)
	require.Equal(t, storage.Report{Lines: 7, End: int64(len(file))}, report)
	for i, l := range lines {
		require.Equal(t, i+1, l.Number)
		require.EqualValues(t, ends[i], l.Offset+l.Length)
		require.True(t, l.CRC)
		require.NotNil(t, l.Record)
		require.NoError(t, l.Err)
	}

	report, lines = inspect(file[:len(file)-20])
	require.Equal(t, storage.Report{Lines: 6, End: int64(ends[5]), Cut: int64(len(file) - 20 - ends[5])}, report)
	require.Error(t, lines[6].Err)

	bad := bytes.Clone(file)
	bad[ends[2]+30] ^= 1
	report, lines = inspect(bad)
	var damage *storage.DamageError
	require.ErrorAs(t, report.Refused, &damage)
	require.Equal(t, 4, damage.Line)
	require.Equal(t, 3, report.Lines)
	require.Len(t, lines, 7)
	require.Error(t, lines[3].Err)
	require.True(t, lines[4].CRC, "good lines behind it show as good")
}
