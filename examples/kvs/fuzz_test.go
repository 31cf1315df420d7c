package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzLoad gives a store any bytes as a snapshot. What it takes is what encoding/json reads, and is encoded to the same
// again; what it refuses leaves it as it was.
func FuzzLoad(f *testing.F) {
	for _, state := range []string{
		`{}`, `{"foo":123,"bar":null}`, `{"a":{"b":[1,2.50,"x\n\u00e4"]},"":"","\u0061b":123456789012345678901234567890}`, `{"a":1,"a":2}`,
		" { \"a\" : [ 1 , 2 ] }\n", `{"\ud800":1,"😀":"\ud83d\ude00"}`, `null`, `[]`, `"{}"`, `{"a":1`, `{"a":1}}`, `{"a":01}`, `{1:2}`, "{\"\xff\":1}",
	} {
		f.Add([]byte(state), false)
		f.Add([]byte(state), true)
	}
	f.Fuzz(func(t *testing.T, state []byte, pieces bool) {
		if bytes.Count(state, []byte{'['})+bytes.Count(state, []byte{'{'}) > 1000 {
			return // encoding/json has another limit
		}
		var from io.Reader = bytes.NewReader(state)
		if pieces {
			from = iotest.OneByteReader(from)
		}
		var s store
		s.put("old", []byte("1"))
		install, err := s.Load(from)
		require.Equal(t, []string{"old"}, s.keys(), "it has changed before its time")
		require.Equal(t, "1", string(s.get("old").value))
		if bytes.HasPrefix(bytes.TrimSpace(state), []byte{'['}) {
			if err == nil {
				install()
				sameTwice(t, &s)
			}
			return
		}
		var want map[string]json.RawMessage // encoding/json takes null for a map, too
		in := json.NewDecoder(bytes.NewReader(state))
		object := in.Decode(&want) == nil && want != nil
		switch {
		case !utf8.Valid(state):
			return // the server never gives us such a state
		case json.Valid(state):
			require.Equal(t, object, err == nil, "%v", err)
		case err == nil: // what stands behind the object is the server's to judge
			require.True(t, object, "encoding/json reads no object")
		}
		if err != nil {
			return
		}
		install()
		require.Equal(t, compact(t, want), compact(t, values(t, sameTwice(t, &s))))
		size := 0
		for _, key := range s.keys() {
			size += len(key) + len(s.get(key).value)
		}
		require.Equal(t, size, s.bytes)
	})
}

// sameTwice encodes a store, and the store that is made of that.
func sameTwice(t *testing.T, s *store) []byte {
	t.Helper()
	encoded, err := s.MarshalJSON()
	require.NoError(t, err)
	var again store
	require.NoError(t, again.UnmarshalJSON(encoded))
	twice, err := again.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(encoded), string(twice))
	return encoded
}

// values are those in an encoded store.
func values(t *testing.T, encoded []byte) map[string]json.RawMessage {
	t.Helper()
	if encoded[0] == '{' {
		var plain map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(encoded, &plain))
		return plain
	}
	var state [2]json.RawMessage
	require.NoError(t, json.Unmarshal(encoded, &state))
	var pairs map[string][2]json.RawMessage
	require.NoError(t, json.Unmarshal(state[1], &pairs))
	values := map[string]json.RawMessage{}
	for key, pair := range pairs {
		values[key] = pair[1]
	}
	return values
}

// compact is a map without the white space that means nothing.
func compact(t *testing.T, m map[string]json.RawMessage) map[string]string {
	texts := map[string]string{}
	for key, value := range m {
		var b bytes.Buffer
		require.NoError(t, json.Compact(&b, value))
		texts[key] = b.String()
	}
	return texts
}
