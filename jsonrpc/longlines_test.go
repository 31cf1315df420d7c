package jsonrpc_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
)

// endless gives a line over and over, in as long pieces as it is asked for.
type endless struct {
	line []byte
	at   int
}

func (e *endless) Read(p []byte) (n int, _ error) {
	for n < len(p) {
		k := copy(p[n:], e.line[e.at:])
		e.at = (e.at + k) % len(e.line)
		n += k
	}
	return n, nil
}

func linesOf(size int) *jsonrpc.Reader {
	return jsonrpc.NewReader(&endless{line: append(bytes.Repeat([]byte{'1'}, size), '\n')}, 0)
}

// Where long lines come one after the other, each is read into memory of its own at once.
func TestLongLinesAreReadIntoTheirMemory(t *testing.T) {
	r := linesOf(1 << 20)
	allocs := testing.AllocsPerRun(20, func() {
		if line, err := r.ReadLine(); err != nil || len(line) != 1<<20 {
			t.Error(len(line), err)
		}
	})
	require.LessOrEqual(t, allocs, 1.0)
}

func BenchmarkLongLines(b *testing.B) {
	for name, size := range map[string]int{"64 KiB": 64 << 10, "1 MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			r := linesOf(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.ReadLine(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
