package backup_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/backup"
	"github.com/raftpico/go/raftpico/internal/storage"
)

const (
	system = `{"min_election_timeout_ms":300,"max_election_timeout_ms":2000,"members":{}}`
	state  = `{"Values":{"a":1,"b":"two"},"Text":"ünï\\n"}`
)

func head(size int) backup.Head {
	return backup.Head{ClusterID: "c1", Index: 907, Term: 3, Time: 1795258645723, MachineVersion: 2, Made: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), Bytes: int64(size)}
}

// made is a backup of a state.
func made(t testing.TB, state string) []byte {
	s, err := backup.New(head(len(state)), json.RawMessage(system), io.NopCloser(strings.NewReader(state)))
	require.NoError(t, err)
	text, err := io.ReadAll(iotest.OneByteReader(s))
	require.NoError(t, err)
	require.Equal(t, int64(len(text)), s.Bytes())
	require.NoError(t, s.Close())
	return text
}

// read reads a backup, and returns the state that came out.
func read(text []byte) (state string, err error) {
	var out strings.Builder
	_, _, err = backup.Read(bytes.NewReader(text), func(backup.Head, json.RawMessage) (io.Writer, error) { return &out, nil })
	return out.String(), err
}

func TestABackupIsReadAsItWasWritten(t *testing.T) {
	for _, state := range []string{`1`, `{}`, state, `"` + strings.Repeat("x", 3<<20) + `"`} {
		text := made(t, state)
		require.Equal(t, 4, bytes.Count(text, []byte("\n")))
		var out strings.Builder
		h, size, err := backup.Read(iotest.HalfReader(bytes.NewReader(text)), func(h backup.Head, s json.RawMessage) (io.Writer, error) {
			require.JSONEq(t, system, string(s))
			return &out, nil
		})
		require.NoError(t, err)
		want := head(len(state))
		want.Format = backup.Format
		require.Equal(t, want, h)
		require.Equal(t, int64(len(text)), size)
		require.Equal(t, state, out.String())
	}
}

var update = flag.Bool("update", false, "write the golden backup anew: a changed one is another format")

// A backup of this format is what the top-level testdata has, byte for byte, and is read for ever.
func TestTheGoldenBackup(t *testing.T) {
	const golden = "../../../testdata/backup/small.backup"
	if *update {
		require.NoError(t, os.WriteFile(golden, made(t, state), 0o644))
	}
	text, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(made(t, state)), string(text))
	out, err := read(text)
	require.NoError(t, err)
	require.Equal(t, state, out)
}

// A backup that is cut anywhere is refused, and the line is named.
func TestACutBackupIsRefused(t *testing.T) {
	text := made(t, state)
	for n := range len(text) {
		_, err := read(text[:n])
		var damage *backup.DamageError
		require.ErrorAs(t, err, &damage, "%d bytes", n)
		require.Equal(t, 1+bytes.Count(text[:n], []byte("\n")), damage.Line, "%d bytes: %v", n, err)
	}
}

// A backup with any bit changed is refused.
func TestAChangedBackupIsRefused(t *testing.T) {
	text := made(t, state)
	for bit := range 8 * len(text) {
		changed := bytes.Clone(text)
		changed[bit/8] ^= 1 << (bit % 8)
		_, err := read(changed)
		var damage *backup.DamageError
		require.ErrorAs(t, err, &damage, "bit %d: %q", bit, changed)
		line := 1 + bytes.Count(text[:bit/8], []byte("\n"))
		require.LessOrEqual(t, damage.Line, line, "bit %d: %v", bit, err)
		if changed[bit/8] != '\n' && text[bit/8] != '\n' {
			require.Equal(t, line, damage.Line, "bit %d: %v", bit, err)
		}
	}
}

// Lines that are lost, doubled, exchanged or added are refused.
func TestABackupOfOtherLinesIsRefused(t *testing.T) {
	l := strings.SplitAfter(string(made(t, state)), "\n")
	other := strings.SplitAfter(string(made(t, `{"another":"state"}`)), "\n")
	for _, lines := range [][]string{
		{l[1], l[2], l[3]}, {l[0], l[2], l[3]}, {l[0], l[1], l[3]}, {l[0], l[1], l[2]}, {l[0], l[0], l[1], l[2], l[3]},
		{l[0], l[1], l[2], l[3], l[3]}, {l[0], l[1], l[2], l[3], "\n"}, {l[0], l[1], l[2], l[3], "x"},
		{l[0], l[2], l[1], l[3]}, {l[0], l[1], other[2], l[3]}, {l[0], l[1], l[2], other[3]}, {other[0], l[1], l[2], l[3]},
	} {
		_, err := read([]byte(strings.Join(lines, "")))
		var damage *backup.DamageError
		require.ErrorAs(t, err, &damage, "%q", lines)
	}
}

func TestWhatIsNoBackupIsCalledSo(t *testing.T) {
	const logHead = `{"Header":{"format":1,"instance":"a"}`
	for text, reason := range map[string]string{
		"": "line 1: the file is empty",
		`{"Header":{"format":1,"instance":"a"},"crc":"00000000"}` + "\n":               "line 1: this is a log file, and no backup",
		string(storage.AppendTail([]byte(logHead), storage.Chain(0, []byte(logHead)))): "line 1: this is a log file, and no backup",
		"hello\n":                     "line 1: this is no backup",
		"hello":                       "line 1: this is no backup",
		"\x1f\x8b\x08":                "line 1: it is compressed: unpack it first",
		strings.Repeat("x", 1<<20):    "line 1: this is no backup",
		strings.Repeat("x\n", 1<<20):  "line 1: this is no backup",
		`{"Backup":{"format":1,"clus`: "line 1: it is cut: the rest of the file is missing",
		`{"Backup":{"format":1` + strings.Repeat(" ", 1<<20) + "\n": "line 1: it is too long",
	} {
		_, err := read([]byte(text))
		require.ErrorContains(t, err, reason, "%.30q", text)
	}
}

// What the crc can't tell, since somebody made the whole file: the rules hold all the same.
func TestABackupThatSomebodyMadeUpIsHeldToTheRules(t *testing.T) {
	for _, state := range []string{`{"a":`, `nothing`, `{} {}`, strings.Repeat("[", 3000) + strings.Repeat("]", 3000)} {
		_, err := read(made(t, state))
		require.ErrorContains(t, err, "line 3: the state is no JSON")
	}
	for _, h := range []backup.Head{{Index: 1, Bytes: 2}, {Term: 1, Bytes: 2}} {
		s, err := backup.New(h, json.RawMessage(system), io.NopCloser(strings.NewReader(`{}`)))
		require.NoError(t, err)
		text, err := io.ReadAll(s)
		require.NoError(t, err)
		_, err = read(text)
		require.ErrorContains(t, err, "line 1: it tells no index, no term or no size")
	}
}

// A newer format is told by its number.
func TestANewerFormatIsRefusedByItsNumber(t *testing.T) {
	text := string(made(t, state))
	newer := relined(strings.Replace(text[:strings.IndexByte(text, '\n')], `"format":1`, `"format":2`, 1))
	_, err := read([]byte(newer))
	require.ErrorContains(t, err, "line 1: its format is 2, this program's 1")
}

// The errors of the state, of the reader and of the writer come through, and are no damage.
func TestErrorsOfOthersComeThrough(t *testing.T) {
	broken := errors.New("input/output error")
	s, err := backup.New(head(len(state)), json.RawMessage(system), io.NopCloser(io.MultiReader(strings.NewReader(state[:5]), iotest.ErrReader(broken))))
	require.NoError(t, err)
	text, err := io.ReadAll(s)
	require.ErrorIs(t, err, broken)
	_, err = read(text)
	require.ErrorContains(t, err, "line 3: it is cut")

	text = made(t, state)
	for n := range len(text) {
		_, _, err = backup.Read(io.MultiReader(bytes.NewReader(text[:n]), iotest.ErrReader(broken)), func(backup.Head, json.RawMessage) (io.Writer, error) { return io.Discard, nil })
		require.ErrorIs(t, err, broken, "%d bytes", n)
	}
	_, _, err = backup.Read(bytes.NewReader(text), func(backup.Head, json.RawMessage) (io.Writer, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	_, _, err = backup.Read(bytes.NewReader(text), func(backup.Head, json.RawMessage) (io.Writer, error) { return failing{broken}, nil })
	require.ErrorIs(t, err, broken)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A state of another size than was told is no backup.
func TestAStateOfAnotherSizeIsAnError(t *testing.T) {
	for _, by := range []int{-1, 1} {
		s, err := backup.New(head(len(state)+by), json.RawMessage(system), io.NopCloser(strings.NewReader(state)))
		require.NoError(t, err)
		text, err := io.ReadAll(s)
		require.ErrorContains(t, err, "not as long as it should be")
		_, err = read(text)
		require.Error(t, err)
	}
}

// relined is a line with the right crc, as the first of a file.
func relined(line string) string {
	body := line[:strings.LastIndex(line, `,"crc":`)]
	return fmt.Sprintf("%s,\"crc\":\"%08x\"}\n", body, crcOf(body))
}

func crcOf(body string) uint32 { return storage.Chain(0, []byte(body)) }
