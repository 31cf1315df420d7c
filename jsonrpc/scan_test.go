package jsonrpc

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestDepthIsCountedInArraysAndObjects(t *testing.T) {
	nest := func(n int) []byte {
		return []byte(strings.Repeat(`[{"a":`, n/2) + `0` + strings.Repeat(`}]`, n/2))
	}
	require.NoError(t, Valid([]byte("1"), 0))
	require.Error(t, Valid([]byte("[]"), 0))
	require.NoError(t, Valid(nest(MaxDepth), MaxDepth))
	require.Error(t, Valid(nest(MaxDepth+2), MaxDepth+1))
	require.Error(t, Valid([]byte(strings.Repeat("[", 10<<20)), MaxDepth), "no stack overflow")
}

// seeds are shared by the fuzz tests.
var seeds = []string{
	`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["foo",123]}},"id":0}`,
	`{"jsonrpc":"2.0","me\u0074hod":"a\n\u00e9","id":"x"}`,
	`[{"jsonrpc":"2.0","method":"m"},1,[]]`,
	`{"id":-1.5e-7,"jsonrpc":"2\u002e0","method":"m","params":[null,true,"\ud83d\ude00"]}`,
	` { "a" : 1 , "a" : [ ] } `,
	"\"\xff\"", `"\ud800"`, `1e`, `{"":{"":{}}}`, `{"error":{"code":1,"message":"m","data":[]},"id":7,"jsonrpc":"2.0"}`,
}

func FuzzValidAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	for _, file := range []string{"valid.txt", "invalid.txt", "duplicates.txt"} {
		for _, c := range corpus(f, file) {
			f.Add(c.text)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if nesting(b) > 1000 {
			return
		}
		want := stdjson.Valid(b) && utf8.Valid(b)
		if got := Valid(b, anyDepth) == nil; got != want {
			t.Fatalf("Valid(%q) = %v, encoding/json says %v", b, got, want)
		}
		i := skipSpace(b, 0)
		skipped := SkipValue(b, i)
		if skipped > len(b) {
			t.Fatalf("SkipValue(%q) = %d", b, skipped)
		}
		passed := func(pass func(visit func(name, value []byte)) int) string { // each name and value
			var all strings.Builder
			end := pass(func(name, value []byte) { fmt.Fprintf(&all, "%q:%q,", name, value) })
			return fmt.Sprint(all.String(), end)
		}
		members, elements := "", ""
		if i < len(b) && b[i] == '{' {
			members = passed(func(visit func(name, value []byte)) int { return skipMembers(b, i, visit) })
		}
		if i < len(b) && b[i] == '[' {
			elements = passed(func(visit func(name, value []byte)) int { return skipElements(b, i, func(v []byte) { visit(nil, v) }) })
		}
		if !want {
			return
		}
		if end := scanValue(b, i, anyDepth); skipped != end {
			t.Fatalf("SkipValue(%q) = %d, want %d", b, skipped, end)
		}
		if want := passed(func(visit func(name, value []byte)) int { return scanObject(b, i, anyDepth, visit) }); members != "" && members != want {
			t.Fatalf("the members of %q are skipped as %s, want %s", b, members, want)
		}
		if want := passed(func(visit func(name, value []byte)) int {
			return scanArray(b, i, anyDepth, func(v []byte) { visit(nil, v) })
		}); elements != "" && elements != want {
			t.Fatalf("the elements of %q are skipped as %s, want %s", b, elements, want)
		}
		var compacted bytes.Buffer
		if err := stdjson.Compact(&compacted, b); err != nil {
			t.Fatal(err)
		}
		if got := Compact(b); !bytes.Equal(got, compacted.Bytes()) {
			t.Fatalf("Compact(%q) = %q, want %q", b, got, compacted.Bytes())
		}
	})
}

func nesting(b []byte) int { return bytes.Count(b, []byte("[")) + bytes.Count(b, []byte("{")) }
