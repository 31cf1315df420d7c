package machine_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

func TestUnionForms(t *testing.T) {
	for _, tt := range []struct{ input, tag, value string }{
		{`"List"`, "List", ""},
		{`{"Get":"k"}`, "Get", `"k"`},
		{`{"Put":["k",1]}`, "Put", `["k",1]`},
		{` { "Put" : [ "k" , 1 ] } `, "Put", `[ "k" , 1 ]`},
		{`{"List":null}`, "List", `null`},
		{`{"a\"b}":{"c":"}\\"}}`, `a"b}`, `{"c":"}\\"}`},
		{`"\u004cist"`, "List", ""},
		{`{"":0}`, "", "0"},
	} {
		var u machine.Union
		require.NoError(t, json.Unmarshal([]byte(tt.input), &u), tt.input)
		require.Equal(t, tt.tag, u.Tag)
		require.Equal(t, tt.value, string(u.Value))
		b, err := json.Marshal(u)
		require.NoError(t, err)
		require.JSONEq(t, tt.input, string(b))
	}
	for _, input := range []string{``, `null`, `1`, `true`, `[]`, `["List"]`, `{}`, `{"a":1,"b":2}`, `{"a"}`, `{"a":}`, `{1:2}`, `"`, `{`, `{"a":1`} {
		require.Error(t, new(machine.Union).UnmarshalJSON([]byte(input)), input)
	}
}

func TestUnionValues(t *testing.T) {
	union := func(input string) (u machine.Union) {
		require.NoError(t, json.Unmarshal([]byte(input), &u), input)
		return u
	}
	var s string
	var n int
	var raw json.RawMessage
	var p *int
	var point struct{ X, Y int }

	require.NoError(t, union(`"List"`).Unit())
	require.Error(t, union(`{"List":null}`).Unit())

	require.NoError(t, union(`{"A":"a\u0000\n"}`).Decode(&s))
	require.Equal(t, "a\x00\n", s)
	require.NoError(t, union(`{"A":{"X":1,"Y":2}}`).Decode(&point))
	require.Equal(t, 2, point.Y)
	require.NoError(t, union(`{"A":null}`).Decode(&p))
	for input, dst := range map[string]any{
		`"A"`: &s, `{"A":1}`: &s, `{"A":null}`: &s, `{"A":["a"]}`: &s, `{"A":"1"}`: &n, `{"A":1.5}`: &n, `{"A":{"x":1}}`: &point,
		`{"A":{"X":1,"X":2}}`: &point,
	} {
		require.Error(t, union(input).Decode(dst), input)
	}
	require.Error(t, union(`{"A":null}`).Decode(&n), "null is no number")
	require.Error(t, union(`"A"`).Decode(&raw), "no value")

	require.NoError(t, union(`{"A":["k,]",{"x": [1,2]},null]}`).Tuple(&s, &raw, &p))
	require.Equal(t, "k,]", s)
	require.Equal(t, `{"x": [1,2]}`, string(raw))
	require.NoError(t, union(`{"A":[]}`).Tuple())
	require.NoError(t, union(`{"A":[ 7 ]}`).Tuple(&n))
	require.Equal(t, 7, n)
	for _, input := range []string{`"A"`, `{"A":[]}`, `{"A":["k"]}`, `{"A":["k",1,2]}`, `{"A":"k"}`, `{"A":{"k":1}}`, `{"A":[1,"k"]}`} {
		require.Error(t, union(input).Tuple(&s, &n), input)
	}
	require.Error(t, union(`{"A":[1]}`).Tuple())
}

// The scanner and encoding/json see the same parts in every valid text, and no text makes the scanner panic.
func FuzzUnionPartsAreThoseOfEncodingJSON(f *testing.F) {
	for _, s := range []string{`"List"`, `{"Put":["k",1]}`, `{"a":{"b":"]}\\\""}}`, `{"a":1,"b":2}`, `["\\"]`, `{"a":["[",{"]":","}]}`, `{"a\`, `:`, `[,]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input string) {
		var u machine.Union
		err := u.UnmarshalJSON([]byte(input))
		var a, b json.RawMessage
		_ = machine.Union{Value: json.RawMessage(input)}.Tuple(&a, &b)
		if !json.Valid([]byte(input)) {
			return
		}
		var tag string
		members := map[string]json.RawMessage{}
		if json.Unmarshal([]byte(input), &tag) == nil && input[0] != 'n' {
			if err == nil { // lone surrogates and invalid UTF-8 are refused
				require.Equal(t, machine.Union{Tag: tag}, u)
			}
		} else if err == nil {
			require.NoError(t, json.Unmarshal([]byte(input), &members))
			require.Equal(t, map[string]json.RawMessage{u.Tag: u.Value}, members)
		}
		var elems []json.RawMessage
		if json.Unmarshal([]byte(input), &elems) == nil && len(elems) == 2 {
			require.NoError(t, machine.Union{Value: json.RawMessage(input)}.Tuple(&a, &b))
			require.Equal(t, elems, []json.RawMessage{a, b})
		}
	})
}
