package node_test

import (
	"bytes"
	stdjson "encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// shelf is a state with all that JSON has.
type shelf struct {
	Name  string                     `json:"name"`
	Count int64                      `json:"count"`
	Items map[string]stdjson.Number  `json:"items"`
	Raw   map[string]json.RawMessage `json:"raw"`
	List  []shelf                    `json:"list"`
	Maybe *float64                   `json:"maybe"`
}

func (*shelf) Apply(*machine.Context, string) (any, error) { return nil, nil }

// tape is a Snapshotter that panics on some states, as a faulty one may.
type tape struct{ words []string }

func (*tape) Apply(*machine.Context, json.RawMessage) (any, error) { return nil, nil }

func (s *tape) Capture() (func(io.Writer) error, error) {
	words := slices.Clone(s.words)
	return func(w io.Writer) error { return stdjson.NewEncoder(w).Encode(words) }, nil
}

func (s *tape) Load(r io.Reader) (install func(), err error) {
	var words []string
	if err := stdjson.NewDecoder(r).Decode(&words); err != nil {
		return nil, err
	}
	if slices.Contains(words, "panic in Load") {
		panic("Load")
	}
	return func() {
		if slices.Contains(words, "panic in install") {
			panic("install")
		}
		s.words = words
	}, nil
}

// FuzzRestore gives machines any bytes as their state. Such a state is refused, and the machine is as it was; or it is what
// encoding/json reads, and what the machine then gives out loads to the same again.
func FuzzRestore(f *testing.F) {
	for _, state := range []string{
		`{}`, `null`, `[]`, ``, `{"name":"é\u00e9<&>","count":-5,"items":{"a":1.50E+3},"raw":{"b":{"x":[1, 2],"y":"\u003c"}},"list":[{"list":null}],"maybe":0.5}`,
		`{"count":9223372036854775808}`, `{"count":1.5}`, `{"unknown":1}`, `{"Name":"case"}`, `{"raw":{"a":1,"a":2}}`, `{"name":"a","name":"b"}`, `{"items":{"a":"1"}}`,
		`{"name":1}`, `{"list":[{"unknown":1}]}`, `{} x`, `{"name":"cut`, "{\"name\":\"\xff\"}",
		`["a","b"]`, `["panic in Load"]`, `["panic in install"]`, `["a",1]`, `["a"] []`,
	} {
		f.Add([]byte(state), int64(len(state)))
		f.Add([]byte(state), int64(len(state)-1))
	}
	f.Fuzz(func(t *testing.T, state []byte, size int64) {
		size = min(max(size, 0), int64(len(state))+1)
		for _, snapshotter := range []bool{false, true} {
			old := func() (machine.Machine, any, any) {
				if snapshotter {
					s := &tape{words: []string{"old"}}
					return machine.JSON(s), s, &tape{words: []string{"old"}}
				}
				s := &shelf{Name: "old", Raw: map[string]json.RawMessage{"old": []byte(`1`)}}
				return machine.JSON(s), s, &shelf{Name: "old", Raw: map[string]json.RawMessage{"old": []byte(`1`)}}
			}
			m, got, before := old()
			install, err := node.Load(m, iotest.HalfReader(bytes.NewReader(state)), size)
			require.Equal(t, before, got, "it has changed before its time")
			if err == nil {
				if err = install(); err != nil {
					require.Equal(t, before, got, "it is half changed")
				}
			}
			if err != nil {
				continue
			}
			if s, ok := got.(*shelf); ok {
				require.LessOrEqual(t, size, int64(len(state)))
				s.agrees(t, state[:size])
			}
			first := given(t, m)
			m, again, _ := old()
			install, err = node.Load(m, strings.NewReader(first), int64(len(first)))
			require.NoError(t, err, first)
			require.NoError(t, install(), first)
			require.Equal(t, first, given(t, m))
			if bytes.IndexByte(state, ' ') < 0 { // raw values are kept as they are
				require.Equal(t, got, again)
			}
		}
	})
}

// given is a machine's state as it gives it out.
func given(t *testing.T, m machine.Machine) string {
	var b strings.Builder
	if s, ok := m.(machine.Snapshotter); ok {
		write, err := s.Capture()
		require.NoError(t, err)
		require.NoError(t, write(&b))
		return b.String()
	}
	state, err := m.Snapshot()
	require.NoError(t, err)
	require.True(t, stdjson.Valid(state), "%s", state)
	return string(state)
}

// agrees holds a restored shelf against encoding/json. Of duplicate members it may make something else.
func (s *shelf) agrees(t *testing.T, state []byte) {
	d := stdjson.NewDecoder(bytes.NewReader(state))
	d.DisallowUnknownFields()
	var want shelf
	require.NoError(t, d.Decode(&want))
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF)
	if !duplicates(stdjson.NewDecoder(bytes.NewReader(state))) {
		require.Equal(t, &want, s)
	}
}

// duplicates tells whether some object of a value names a member twice.
func duplicates(d *stdjson.Decoder) bool {
	token, err := d.Token()
	if err != nil {
		return false
	}
	delim, ok := token.(stdjson.Delim)
	if !ok {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return false
			}
			if seen[name.(string)] {
				return true
			}
			seen[name.(string)] = true
		}
		if duplicates(d) {
			return true
		}
	}
	_, _ = d.Token()
	return false
}
