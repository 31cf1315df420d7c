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

func TestCompactor(t *testing.T) {
	for _, value := range []string{
		``, ` `, `1`, ` 1 `, `1 2`, `-`, `-0`, `-01`, `00`, `0.`, `0.5`, `.5`, `1e`, `1E+`, `1E+5`, `1e-05 `, `1.e5`, `1.5e5.`, `12345`, `+1`,
		`true`, `tru`, `truee`, `true false`, `null`, `nul`, `false`, `falze`, `""`, `"a`, `"a"`, `"a"b`, `"\"`, `"\""`, `"\\"`, `"\x"`,
		`"\u12"`, `"\u12G4"`, `"\u12af"`, `"\ud800"`, "\"\x01\"", "\"\n\"", "\"\x7f\"", "\"\x80\"", "\"\xc3\xa4\"", "\"\xc3\"", "\"\xc3(\"", "\"\xc1\x81\"",
		"\"\xe2\x82\xac\"", "\"\xe2\x82\"", "\"\xe0\x80\x80\"", "\"\xed\xa0\x80\"", "\"\xf0\x9f\x98\x80\"", "\"\xf0\x80\x80\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"",
		`[]`, `[ ]`, `[`, `]`, `[1`, `[1,`, `[1,]`, `[,1]`, `[ 1 , 2 ]`, `[1 2]`, `[1}`, `[[[]]]`, `[[[[]]]]`,
		`{}`, `{ }`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{a:1}`, `{"a" : 1 , "b" : [ true , null ] }`, `{"a":1]`, `{"a":1 "b":2}`, `{1:2}`, `{"a"::1}`,
		"{\"a\\\"b\": \"c d\",\r\n\t\"e\":-1.5E+7}", `{} {}`, `{}x`, "\xef\xbb\xbf{}", "\x00", "1\x00", `"` + strings.Repeat(`xyz\n`, 1000) + `"`,
	} {
		sameAsCompact(t, []byte(value), 3)
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
