package jsonrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func readAll(r *Reader) (lines []string, err error) {
	for {
		line, err := r.ReadLine()
		if err != nil {
			return lines, err
		}
		lines = append(lines, string(line))
	}
}

func TestReaderSplitsLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		in    string
		lines []string
		err   error
		why   string
	}{
		{"", nil, io.EOF, "nothing"},
		{"a\nb\n", []string{"a", "b"}, io.EOF, "the usual"},
		{"a\r\nb\r\n", []string{"a", "b"}, io.EOF, "CRLF"},
		{"\n\r\n\na\n\n", []string{"a"}, io.EOF, "empty lines are ignored"},
		{" \n\t\r\n\r\r\na\n  \n b \n ", []string{"a", " b "}, io.EOF, "and so is white space"},
		{"a\nb", []string{"a", "b"}, io.EOF, "the last line may lack its newline"},
		{"a\r", []string{"a"}, io.EOF, "and even half of a CRLF"},
		{long + "\n" + long + "\r\n", []string{long, long}, io.EOF, "as long as may be"},
		{"a\n" + long + "y\nb\n", []string{"a"}, ErrLineTooLong, "longer"},
		{"a\n" + long + "yyyyy", []string{"a"}, ErrLineTooLong, "longer, and not yet complete"},
	} {
		for name, src := range map[string]io.Reader{
			"at once":          strings.NewReader(c.in),
			"by the byte":      iotest.OneByteReader(strings.NewReader(c.in)),
			"the end included": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			r := NewReader(src, 100)
			lines, err := readAll(r)
			require.Equal(t, c.lines, lines, "%s, %s", c.why, name)
			require.Equal(t, c.err, err, "%s, %s", c.why, name)
			_, again := r.ReadLine()
			require.Equal(t, err, again, "%s, %s: the error stays", c.why, name)
		}
	}
	lines, err := readAll(NewReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("a\nb"))), 0))
	require.Empty(t, lines)
	require.Equal(t, iotest.ErrTimeout, err)
}

func TestReaderGivesLinesAway(t *testing.T) {
	var in bytes.Buffer
	var want []string
	for i := range 300 { // lengths around all buffer sizes
		want = append(want, strings.Repeat(fmt.Sprint(i%10), 1+i*i))
		in.WriteString(want[i] + "\n")
	}
	for _, src := range []io.Reader{bytes.NewReader(in.Bytes()), iotest.HalfReader(bytes.NewReader(in.Bytes()))} {
		r := NewReader(src, 0)
		r.spare = make(buffers, 4)
		var got [][]byte
		for {
			line, err := r.ReadLine()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			got = append(got, line)
		}
		require.Len(t, got, len(want))
		for i := range got {
			require.True(t, want[i] == string(got[i]), "line %d is intact after all were read", i)
			require.Equal(t, len(got[i]), cap(got[i]), "appending to a line does not reach the next")
		}
		require.Zero(t, r.taken(), "an idle reader holds no large buffer")
	}
}

func TestReaderTakesLimitForTheNextLine(t *testing.T) {
	r := NewReader(strings.NewReader("aaaa\nbbbb\ncccc\n"), 4)
	_, err := r.ReadLine()
	require.NoError(t, err)
	r.SetMaxLine(3)
	_, err = r.ReadLine()
	require.True(t, errors.Is(err, ErrLineTooLong))
}

func FuzzReaderAgreesWithSplit(f *testing.F) {
	f.Add([]byte("a\r\n\nb"), 3)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		var want []string
		for line := range bytes.SplitSeq(in, newline) {
			if line = bytes.TrimSuffix(line, []byte("\r")); len(line) > 0 {
				want = append(want, string(line))
			}
		}
		got, err := readAll(NewReader(&pieces{in, piece}, 0))
		if err != io.EOF || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q in pieces of %d: %q, %v, want %q", in, piece, got, err, want)
		}
	})
}

// pieces reads n bytes at once.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), max(p.n, 1))], p.b)
	p.b = p.b[n:]
	return n, nil
}

// TestLinesOfAllLengthsStayAsTheyWereRead keeps them all: the memory of none may be read into again.
func TestLinesOfAllLengthsStayAsTheyWereRead(t *testing.T) {
	var sizes []int
	for _, size := range []int{1, 100, 4 << 10, 30 << 10, 33 << 10, 40 << 10, 64 << 10, 66 << 10, 900 << 10, 2 << 20} {
		sizes = append(sizes, size, size, 33<<10, 7, size, size+1, 900<<10, 36<<10, 36<<10)
	}
	var sent bytes.Buffer
	for i, size := range sizes {
		sent.Write(bytes.Repeat([]byte{byte('a' + i%26)}, size))
		sent.WriteByte('\n')
	}
	r := NewReader(&sent, 0)
	var lines [][]byte
	for range sizes {
		line, err := r.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	for i, line := range lines {
		if want := byte('a' + i%26); len(line) != sizes[i] || bytes.Count(line, []byte{want}) != sizes[i] {
			t.Errorf("line %d: %d bytes, %.10q…, want %d of %q", i, len(line), line, sizes[i], want)
		}
	}
}

func TestLastLineIsFoundNearAndFar(t *testing.T) {
	for _, size := range []int{0, 1, 2, 5, idleBuffer - 1, idleBuffer, idleBuffer + 1, 3 * idleBuffer} {
		text := bytes.Repeat([]byte("v"), size)
		require.Zero(t, lastLine(text))
		for _, at := range []int{0, 1, 2, size / 2, size - 2, size - 1} {
			if at < 0 || at >= size {
				continue
			}
			text[at] = '\n'
			require.Equal(t, bytes.LastIndexByte(text, '\n')+1, lastLine(text), "%d bytes", size)
		}
	}
}
