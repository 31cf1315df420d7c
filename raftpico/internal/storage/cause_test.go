package storage_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// What editors and tools do to a file is refused, each with its cause named, also in a file of two short lines, which
// could pass for the first line of a new one; and nothing that was acknowledged is cut.
func TestWhatAToolHasDoneIsNamed(t *testing.T) {
	long, _, _ := written(t, story()...)
	short, _, _ := written(t, story()[0])
	all := func(old, new string) func([]byte) []byte {
		return func(file []byte) []byte { return bytes.ReplaceAll(file, []byte(old), []byte(new)) }
	}
	unended := func(change func([]byte) []byte) func([]byte) []byte {
		return func(file []byte) []byte { return change(bytes.TrimSuffix(file, []byte("\n"))) }
	}
	after := func(more string) func([]byte) []byte {
		return func(file []byte) []byte { return append(bytes.Clone(file), more...) }
	}
	before := func(more string) func([]byte) []byte {
		return func(file []byte) []byte { return append([]byte(more), file...) }
	}
	inLine2 := func(change func(line []byte) []byte) func([]byte) []byte {
		return func(file []byte) []byte {
			lines := bytes.SplitAfter(bytes.Clone(file), []byte("\n"))
			lines[1] = change(lines[1])
			return bytes.Join(lines, nil)
		}
	}
	spaced := func(file []byte) []byte { return all(`":`, `": `)(all(`,"`, `, "`)(file)) }
	for _, c := range []struct {
		name   string
		change func(file []byte) []byte
		want   string
	}{
		{"CR LF", all("\n", "\r\n"), "line 1 (at byte 0): it ends in CR LF, not LF: an editor or a tool"},
		{"CR LF in one line", inLine2(all("\n", "\r\n")), "line 2 (at byte 59): it ends in CR LF, not LF: "},
		{"CR", all("\n", "\r"), "line 1 (at byte 0): "},
		{"no newlines", all("\n", ""), "line 1 (at byte 0): "},
		{"two lines joined", func(file []byte) []byte { return bytes.Replace(file, []byte("\n"), nil, 1) }, "bytes stand between its end and its newline: "},
		{"spaces behind a line", inLine2(all("\n", "  \n")), "2 bytes stand between its end and its newline: "},
		{"a newline more", after("\n"), "it is empty: "},
		{"a newline more, CR LF", after("\r\n"), "its crc does not match"},
		{"an empty line", all("\n", "\n\n"), "it is empty: "},
		{"byte order mark", before("\xef\xbb\xbf"), "it begins with a byte order mark: "},
		{"UTF-16", func(file []byte) []byte { return inUTF16(binary.LittleEndian, "\ufeff"+string(file)) }, "it is UTF-16: "},
		{"UTF-16, big-endian", func(file []byte) []byte { return inUTF16(binary.BigEndian, "\ufeff"+string(file)) }, "it is UTF-16: "},
		{"UTF-16 without a mark", func(file []byte) []byte { return inUTF16(binary.LittleEndian, string(file)) }, "it is UTF-16: "},
		{"UTF-16 without a mark, big-endian", func(file []byte) []byte { return inUTF16(binary.BigEndian, string(file)) }, "it is UTF-16: "},
		{"gzip", zipped, "it is packed by gzip: "},
		{"jq", func(file []byte) []byte { return indentedLines(file, "  ") }, "it is formatted otherwise: "},
		{"jq --tab", func(file []byte) []byte { return indentedLines(file, "\t") }, "it is formatted otherwise: "},
		{"jq, CR LF", func(file []byte) []byte { return all("\n", "\r\n")(indentedLines(file, "  ")) }, "it is formatted otherwise: "},
		{"spaces", spaced, "it is formatted otherwise: "},
		{"spaces in one line", inLine2(spaced), "line 2 (at byte 59): it is formatted otherwise: "},
		{"without crc", func([]byte) []byte { return []byte(`{"Header":{"format":1,"instance":"k3x9"}}` + "\n") }, "it is formatted otherwise: "},
		{"the last newline lost", unended(after("")), ""},
		{"CR for the last newline", unended(after("\r")), ""},
	} {
		for size, file := range map[string][]byte{"long": long, "short": short} {
			t.Run(c.name+" "+size, func(t *testing.T) {
				changed := c.change(file)
				fsys := memfs.New()
				fsys.WriteFile(path, changed)
				log, _, err := storage.Open(fsys, path, "other")
				now, _ := fsys.ReadFile(path)
				if c.want == "" {
					require.NoError(t, err)
					require.NoError(t, log.Close())
					require.Equal(t, string(file), string(now))
					return
				}
				require.ErrorContains(t, err, c.want)
				require.Equal(t, changed, now)
			})
		}
	}
}

// A crash in a write leaves no good record with something behind it.
func TestWholeRecordIsNotTakenForTorn(t *testing.T) {
	file, _, ends := written(t, story()...)
	for _, rest := range []string{"{}", "\r\r", "  ", `{"HardState":{"term":9`} {
		changed := append(bytes.Clone(file[:ends[3]-1]), rest...)
		fsys := memfs.New()
		fsys.WriteFile(path, changed)
		_, _, err := storage.Open(fsys, path, "other")
		require.ErrorContains(t, err, "bytes stand between its end and its newline", "%q", rest)
	}
}

// A torn line is looked through once, whatever it holds: a command may have many members of the crc's name.
func TestTornLineMayHoldWhatLooksLikeItsEnd(t *testing.T) {
	file, states, _ := written(t, story()[:2]...)
	record := &wire.Record{HardState: hard(2, 1, 1), LogEntries: entries(id(1, 1), "start", "a")}
	like := `{"a":1,"crc":"00000000"},`
	record.LogEntries.Entries[1].Data = fmt.Appendf(nil, `{"from":1,"boot":"b1","seq":1,"time":7,"commands":[{"Apply":[%s0]}]}`,
		strings.Repeat(like, 200_000))
	fsys := memfs.New()
	fsys.WriteFile(path, file)
	log, _ := open(t, fsys)
	require.NoError(t, log.Append(record))
	require.NoError(t, log.Close())
	whole, err := fsys.ReadFile(path)
	require.NoError(t, err)
	for _, cut := range []int{2, 30, 1000, 1000 + len(like)/2} {
		fsys.WriteFile(path, whole[:len(whole)-cut])
		require.Equal(t, states[2], read(t, fsys), "%d bytes less", cut)
	}
}

func inUTF16(order binary.AppendByteOrder, text string) (b []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return b
}

func zipped(file []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(file)
	_ = w.Close()
	return b.Bytes()
}
