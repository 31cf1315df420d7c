package jsonrpc

import (
	"bytes"
	stdjson "encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestValidIsTheGrammarOfRFC8259(t *testing.T) {
	for _, c := range []struct {
		json string
		ok   bool
		why  string
	}{
		{`0`, true, "zero"},
		{`-0`, true, "minus zero"},
		{`01`, false, "no leading zeros"},
		{`-`, false, "a sign alone"},
		{`+1`, false, "no plus"},
		{`1.`, false, "a fraction has digits"},
		{`.5`, false, "an integer part has digits"},
		{`1e`, false, "an exponent has digits"},
		{`1E+05`, true, "an exponent may have leading zeros"},
		{`123456789012345678901234567890`, true, "numbers have no limit"},
		{`tru`, false, "a literal cut short"},
		{`truex`, false, "a literal with a tail"},
		{`nan`, false, "no NaN"},
		{``, false, "nothing"},
		{` `, false, "white space alone"},
		{" \t\r\n1 \t\r\n", true, "white space around"},
		{"\v1", false, "other white space"},
		{"\ufeff1", false, "no byte order mark"},
		{`""`, true, "empty string"},
		{`"`, false, "open string"},
		{`"\`, false, "open escape"},
		{`"\"`, false, "an escaped quote does not end a string"},
		{`"\x"`, false, "unknown escape"},
		{`"\u12g4"`, false, "hex digits"},
		{`"\u12"`, false, "four of them"},
		{`"\ud800"`, true, "a lone surrogate is grammar"},
		{"\"\x1f\"", false, "control characters must be escaped"},
		{"\"\x7f\"", true, "DEL need not"},
		{"\"\xff\"", false, "not UTF-8"},
		{"\"\xed\xa0\x80\"", false, "a surrogate in UTF-8"},
		{`"ü€😀"`, true, "UTF-8"},
		{`[]`, true, "empty array"},
		{`[1,]`, false, "no trailing comma"},
		{`[,1]`, false, "no leading comma"},
		{`[1 2]`, false, "a comma is needed"},
		{`[1`, false, "open array"},
		{`[1}`, false, "brackets match"},
		{`{}`, true, "empty object"},
		{`{"a":1,}`, false, "no trailing comma in objects"},
		{`{"a"}`, false, "a member has a value"},
		{`{"a":}`, false, "a value is not nothing"},
		{`{a:1}`, false, "names are quoted"},
		{`{"a":1 "b":2}`, false, "members are separated"},
		{`{"a":1,"a":2}`, true, "duplicates are grammar"},
		{`{ "a" : [ 1 , { } ] }`, true, "white space everywhere"},
		{`1 2`, false, "one value only"},
		{`// x`, false, "no comments"},
	} {
		require.Equal(t, c.ok, Valid([]byte(c.json), MaxDepth) == nil, "%s: %q", c.why, c.json)
	}
}

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
	f.Fuzz(func(t *testing.T, b []byte) {
		if nesting(b) > 1000 {
			return
		}
		want := stdjson.Valid(b) && utf8.Valid(b)
		if got := Valid(b, anyDepth) == nil; got != want {
			t.Fatalf("Valid(%q) = %v, encoding/json says %v", b, got, want)
		}
		if !want {
			return
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
