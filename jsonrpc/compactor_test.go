package jsonrpc

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// compactInPieces lets a value come in pieces of n bytes.
func compactInPieces(value []byte, n, depth int) ([]byte, error) {
	var out bytes.Buffer
	c := NewCompactor(&out, depth)
	for rest := value; len(rest) > 0; {
		piece := rest[:min(n, len(rest))]
		if _, err := c.Write(piece); err != nil {
			return nil, err
		}
		rest = rest[len(piece):]
	}
	return out.Bytes(), c.Close()
}

// sameAsCompact holds a Compactor against Valid and Compact.
func sameAsCompact(t *testing.T, value []byte, depth int) {
	t.Helper()
	want := Valid(value, depth)
	for _, n := range []int{1, 2, 3, 7, 1 << 20} {
		got, err := compactInPieces(value, n, depth)
		require.Equal(t, want == nil, err == nil, "%q in pieces of %d: %v", value, n, err)
		if want == nil {
			require.Equal(t, string(bytes.TrimSpace(Compact(value))), string(got), "%q in pieces of %d", value, n)
		}
	}
}

func FuzzCompactor(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-3,true,null,"x\u00e4\n"]}`, ` [ ] `, `"`, `-1e`, "\"\xf0\x9f\x98\x80\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) { sameAsCompact(t, value, 5) })
}

func BenchmarkCompactor(b *testing.B) {
	value := []byte(`{"some key":"` + strings.Repeat("abcdefgh", 128) + `","n":12345}`)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		c := NewCompactor(io.Discard, 5)
		if _, err := c.Write(value); err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
