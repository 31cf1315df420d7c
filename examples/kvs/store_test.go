package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

func TestCaptureIsTheStateOfItsMoment(t *testing.T) {
	var s store
	for i := range 5000 {
		s.put(fmt.Sprint(i), json.RawMessage(fmt.Sprint(i)))
	}
	want, err := s.MarshalJSON()
	require.NoError(t, err)
	write, err := s.Capture()
	require.NoError(t, err)
	later, err := s.Capture()
	require.NoError(t, err)
	for i := range 5000 {
		s.put(fmt.Sprint(i), json.RawMessage("0"))
		s.delete(fmt.Sprint(i + 1))
		s.put("new"+fmt.Sprint(i), json.RawMessage(`"<x>"`))
	}
	for _, write := range []func(*bytes.Buffer) error{func(b *bytes.Buffer) error { return write(b) }, func(b *bytes.Buffer) error { return later(b) }} {
		var got bytes.Buffer
		require.NoError(t, write(&got))
		require.Equal(t, string(want), got.String())
	}
	var again store
	now, err := s.MarshalJSON()
	require.NoError(t, err)
	require.NoError(t, again.UnmarshalJSON(now))
	require.Equal(t, s.keys(), again.keys())
	require.Equal(t, `"<x>"`, string(again.get("new7").value))
}

func TestLoadReadsWhatWasWritten(t *testing.T) {
	var s store
	for i, key := range []string{"", `a"b`, `\`, "ä\n\u2028<>&", "\x00\x01", "😀", `\u0041`} {
		s.put(key, json.RawMessage(fmt.Sprintf(`{"a":[%d,"x\"y\\",null,-1.5e3]}`, i)))
	}
	for i := range 1000 {
		s.put(strings.Repeat(`k"`, i%50)+fmt.Sprint(i), json.RawMessage(`"`+strings.Repeat(`é\n`, i)+`"`))
	}
	whole, err := s.MarshalJSON()
	require.NoError(t, err)
	loaded := store{}
	loaded.put("old", json.RawMessage("1"))
	install, err := loaded.Load(iotest.HalfReader(bytes.NewReader(whole)))
	require.NoError(t, err)
	require.Equal(t, []string{"old"}, loaded.keys(), "not before install")
	install()
	again, err := loaded.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(whole), string(again))
	for _, bad := range []string{"", "[", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{1:2}`, `null`, `[]`, `{"a" 1}`, `{"a":1 "b":2}`, `{,}`,
		`[1]`, `[1,{}`, `[1,[]]`, `[-1,{}]`, `["1",{}]`, `[1,{"a":1}]`, `[1,{"a":[1]}]`, `[1,{"a":[0,1]}]`, `[1,{"a":[2,1]}]`, `[1,{"a":[1,1,1]}]`,
		`[1,{"a":"1,2"}]`, `[1,{"a":["1",2]}]`, `[1,{},1]`} {
		_, err := new(store).Load(strings.NewReader(bad))
		require.Error(t, err, bad)
	}
}

// The same keys and values make the same bytes in stores that grew in different ways, also where hashes are alike.
func TestEqualStoresMakeEqualBytes(t *testing.T) {
	var grown, shrunk store
	for i := range 10_000 {
		shrunk.put(fmt.Sprint("gone", i), json.RawMessage("1"))
	}
	for i := range 10_000 {
		require.Equal(t, "1", string(shrunk.delete(fmt.Sprint("gone", i)).value))
		require.Zero(t, shrunk.delete(fmt.Sprint("gone", i)))
	}
	require.Empty(t, shrunk.keys())
	require.Zero(t, shrunk.bytes)
	for i := range 1000 {
		grown.set(fmt.Sprint(i), entry{uint64(i + 1), json.RawMessage("0")})
		shrunk.set(fmt.Sprint(999-i), entry{uint64(1000 - i), json.RawMessage("0")})
	}
	grown.numbered, shrunk.numbered = true, true
	grown.revision, shrunk.revision = 1000, 1000
	one, err := grown.MarshalJSON()
	require.NoError(t, err)
	other, err := shrunk.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(one), string(other))
}

func TestKVSIsASnapshotter(t *testing.T) {
	_, ok := machine.JSON(&kvs{}).(machine.Snapshotter)
	require.True(t, ok)
}
