package table

import (
	"bytes"
	std "encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"
	"github.com/stretchr/testify/require"
)

func TestEncodedTableComesBack(t *testing.T) {
	var table Table[any]
	for i, key := range []string{"", `a"b`, `\`, "ä\n\u2028<>&", "\x00\x01\x7f", "😀", `\u0041`, "tenant\x00key"} {
		table.Set(key, float64(i))
	}
	for i := range 1000 {
		table.Set(strings.Repeat(`k"`, i%50)+fmt.Sprint(i), []any{strings.Repeat("é\n", i), nil, true})
	}
	text, err := table.MarshalJSON()
	require.NoError(t, err)
	var plain map[string]any
	require.NoError(t, std.Unmarshal(text, &plain))
	require.Len(t, plain, table.Len())
	for key, value := range table.All() {
		require.Equal(t, value, plain[key])
	}
	var again Table[any]
	again.Set("old", 1)
	require.NoError(t, json.UnmarshalRead(iotest.OneByteReader(bytes.NewReader(text)), &again, jsontext.AllowDuplicateNames(true)))
	twice, err := again.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(text), string(twice), "and old is gone")
}

func TestBadTextLeavesTheTableAsItWas(t *testing.T) {
	var table Table[int]
	table.Set("old", 1)
	for _, bad := range []string{"", "[", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{1:2}`, `[]`, `1`, `{"a" 1}`, `{"a":1 "b":2}`, `{,}`, `{}}`, `{"a":"x"}`, `{"a":1.5}`} {
		require.Error(t, table.UnmarshalJSON([]byte(bad)), bad)
		require.Equal(t, 1, table.Len(), bad)
	}
	require.ErrorContains(t, table.UnmarshalJSON([]byte(`{"name":"x"}`)), `"name"`)
	require.NoError(t, table.UnmarshalJSON([]byte("null")))
	require.True(t, table.IsZero())
}

// A value of a newer build has a member that this one does not know: it is not dropped.
func TestUnknownMembersAreRefused(t *testing.T) {
	var table Table[struct{ A int }]
	require.NoError(t, table.UnmarshalJSON([]byte(`{"k":{"A":1}}`)))
	require.Error(t, table.UnmarshalJSON([]byte(`{"k":{"A":1,"B":2}}`)))
}

func TestEncodeFails(t *testing.T) {
	var table Table[int]
	table.Set("k", 1)
	broken := errors.New("broken")
	require.ErrorIs(t, table.Encode(io.Discard, func([]byte, int) ([]byte, error) { return nil, broken }), broken)
	require.ErrorIs(t, table.Encode(badWriter{broken}, nil), broken)
	table.Set("\xff", 1)
	require.ErrorContains(t, table.Encode(io.Discard, nil), "not UTF-8")
}

type badWriter struct{ err error }

func (w badWriter) Write([]byte) (int, error) { return 0, w.err }

// A codec of its own has the text of each value as it stands there.
func TestOwnCodec(t *testing.T) {
	var table Table[string]
	parse := func(key string, text []byte) (string, error) { return key + "=" + string(text), nil }
	from := jsontext.NewDecoder(strings.NewReader(`{"a":[1, 2],"b":"x","a":{ }} 7`), jsontext.AllowDuplicateNames(true))
	require.NoError(t, table.Decode(from, parse))
	next, err := from.ReadValue()
	require.NoError(t, err)
	require.Equal(t, "7", string(next), "what stands behind the table is not read")
	var out bytes.Buffer
	require.NoError(t, table.Encode(&out, func(dst []byte, v string) ([]byte, error) { return append(append(dst, "0"...), v[:0]...), nil }))
	require.JSONEq(t, `{"a":0,"b":0}`, out.String())
	a, _ := table.Get("a")
	require.Equal(t, "a={ }", a)
}

// FuzzDecode gives a table any bytes. What it takes is what encoding/json reads, and is encoded to the same again.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"foo":123,"bar":null}`, `{"a":{"b":[1,2.50,"x\n\u00e4"]},"":"","\u0061b":1}`, `{"a":1,"a":2}`, " { \"a\" : [ 1 , 2 ] }\n",
		`{"😀":"\ud83d\ude00"}`, `{"\ud800":1}`, `null`, `[]`, `"{}"`, `{"a":1`, `{"a":1}}`, `{"a":01}`, `{1:2}`, "{\"\xff\":1}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte{'['})+bytes.Count(text, []byte{'{'}) > 1000 {
			return // encoding/json has another limit
		}
		var table Table[std.RawMessage]
		table.Set("old", std.RawMessage("1"))
		if err := table.UnmarshalJSON(text); err != nil {
			require.Equal(t, 1, table.Len(), "an error changes nothing")
			if strict := utf8.Valid(text) && !bytes.Contains(text, []byte(`\u`)); strict {
				require.Error(t, std.Unmarshal(text, &map[string]std.RawMessage{}), "%v", err)
			}
			return
		}
		var plain map[string]std.RawMessage
		require.NoError(t, std.Unmarshal(text, &plain))
		require.Len(t, plain, table.Len())
		for key, value := range table.All() {
			require.Equal(t, string(plain[key]), string(value), "%q", key)
		}
		encoded, err := table.MarshalJSON()
		require.NoError(t, err)
		var again Table[std.RawMessage]
		require.NoError(t, again.UnmarshalJSON(encoded))
		twice, err := again.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(twice))
	})
}
