package machine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

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

// Decode, Tuple2 and Tuple3 take what the methods take, and refuse what those refuse, in the same words.
func TestUnionValuesAreReturnedAsTheyAreDecoded(t *testing.T) {
	type point struct{ X, Y int }
	for _, value := range []string{`"a"`, `"a\u0000"`, `"ü"`, `1`, `-1`, `null`, `{"X":1}`, `{"x":1}`, `[]`, `["a"]`, `["a","b"]`, `["a",1]`, `["a",1,2]`,
		`["a",1,{"X":1}]`, `["a",-1,null]`, `[1,2,3]`, `["a","b","c","d"]`, `{"a":1,"b":2}`, `"` + strings.Repeat("x", 100) + `"`, ``} {
		u := machine.Union{Tag: "A", Value: json.RawMessage(value)}
		requireSame[string](t, u)
		requireSame[json.RawMessage](t, u)
		requireSame[uint64](t, u)
		requireSame[*uint64](t, u)
		requireSame[point](t, u)
		requireSame[any](t, u)

		var a string
		var b uint64
		var c json.RawMessage
		a2, b2, err := machine.Tuple2[string, uint64](u)
		requireSameError(t, u.Tuple(&a, &b), err)
		if err == nil {
			require.Equal(t, []any{a, b}, []any{a2, b2})
		}
		a3, b3, c3, err := machine.Tuple3[string, uint64, json.RawMessage](u)
		requireSameError(t, u.Tuple(&a, &b, &c), err)
		if err == nil {
			require.Equal(t, []any{a, b, c}, []any{a3, b3, c3})
		}
	}
}

func requireSame[T any](t *testing.T, u machine.Union) {
	t.Helper()
	var want T
	decoded := u.Decode(&want)
	got, err := machine.Decode[T](u)
	requireSameError(t, decoded, err)
	require.Equal(t, want, got, "%T of %s", want, u.Value)
}

func requireSameError(t *testing.T, want, got error) {
	t.Helper()
	require.Equal(t, want == nil, got == nil, "%v, %v", want, got)
	if want != nil {
		require.EqualError(t, got, want.Error())
	}
}

// Of two faults the same one is told by all releases, in the same words: a machine may keep them in its state, and servers of two
// releases must have the same one. The words are those of v0.1.0.
func TestUnionFaultsComeInOrder(t *testing.T) {
	for value, want := range map[string]string{
		`["k"]`:          `"A" takes an array of 2 elements`,
		`[1]`:            `"A" takes an array of 2 elements`,
		`[1,2,3]`:        `"A", element 0: want a string, not a number`,
		`["k","v",3]`:    `"A" takes an array of 2 elements`,
		`["\ud800",2,3]`: `"A", element 0: `,
		`["k",{}]`:       `"A", element 1: want a string, not an object`,
		`[1,2]`:          `"A", element 0: want a string, not a number`,
	} {
		u := machine.Union{Tag: "A", Value: json.RawMessage(value)}
		var a, b string
		require.ErrorContains(t, u.Tuple(&a, &b), want, value)
		_, _, err := machine.Tuple2[string, string](u)
		require.ErrorContains(t, err, want, value)
	}
	u := machine.Union{Tag: "A", Value: json.RawMessage(`["k",-1]`)}
	var a string
	var b uint64
	var c json.RawMessage
	want := u.Tuple(&a, &b, &c)
	require.ErrorContains(t, want, `takes an array of 3 elements`)
	_, _, _, err := machine.Tuple3[string, uint64, json.RawMessage](u)
	require.EqualError(t, err, want.Error())
	u.Value = json.RawMessage(`["k",-1,2,3]`)
	want = u.Tuple(&a, &b, &c)
	require.ErrorContains(t, want, `element 1: `)
	_, _, _, err = machine.Tuple3[string, uint64, json.RawMessage](u)
	require.EqualError(t, err, want.Error())
}

// A tag that is as the last one is not decoded again.
func TestUnionTagsComeInRuns(t *testing.T) {
	tags := []string{}
	m := machine.JSON(&tagged{&tags})
	ctx := machine.NewContext(machine.Command, 1, time.Unix(0, 0))
	for _, input := range []string{`"a"`, `{"a":1}`, `{"a\\b":1}`, `{"a\b":1}`, `{"a\\b":1}`, `"\u0061"`, `"a"`, `{"":1}`, `""`, `{"\"":1}`, `{"a":1}`} {
		_, err := m.Apply(ctx, json.RawMessage(input))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"a", "a", `a\b`, "a\b", `a\b`, "a", "a", "", "", `"`, "a"}, tags)
}

type tagged struct{ tags *[]string }

func (m *tagged) Apply(_ *machine.Context, in machine.Union) (any, error) {
	*m.tags = append(*m.tags, in.Tag)
	return nil, nil
}

// The short way for what comes most often finds what the long one does, also where it must not be taken.
func TestUnionShortWayIsTheLongOne(t *testing.T) {
	for _, value := range []string{`1`, `-1.5e3`, `true`, `null`, `""`, `"a"`, `"}"`, `"\""`, `"\\"`, `"abcdefgh"`, `"abcdefg\""`, `{}`, `{"a":[1,"]}"],"b":{}}`,
		`[]`, `[1]`, `[1,2]`, `["k","vvvvvvvvvvvvvvvv"]`, `["k",[1,{"a":"],["}],"x"]`, `["ä\ud83d\ude00\"",{}]`, `[[],[]]`, `["a","b","c","d","e"]`} {
		for _, form := range []string{`{"Put":%s}`, ` {"Put":%s}`, `{ "Put":%s}`, `{"Put" :%s}`, `{"Put": %s}`, `{"Put":%s }`, `{"Put":%s} `, `{"Put":%s,"b":1}`, `{"Put":%s,"b":[1,2]}`} {
			input := json.RawMessage(fmt.Sprintf(form, value))
			var us []machine.Union
			m, ctx := machine.JSON(&unions{&us}), machine.NewContext(machine.Command, 1, time.Unix(0, 0))
			_, long := m.Apply(ctx, input)
			_, err := m.Apply(ctx, []byte(`{"Put":1}`))
			require.NoError(t, err)
			_, short := m.Apply(ctx, input)
			requireSameError(t, long, short)
			if long == nil {
				require.Equal(t, us[0], us[2], "%s", input)
				require.Equal(t, value, string(us[2].Value), "%s", input)
			}
		}
		var elems []json.RawMessage
		if value[0] != '[' || json.Unmarshal([]byte(value), &elems) != nil {
			continue
		}
		for n := range 5 {
			got, dst := make([]json.RawMessage, n), make([]any, n)
			for i := range got {
				dst[i] = &got[i]
			}
			err := machine.Union{Value: json.RawMessage(value)}.Tuple(dst...)
			require.Equal(t, n == len(elems), err == nil, "%d of %s: %v", n, value, err)
			if err == nil {
				require.Equal(t, fmt.Sprintf("%s", elems), fmt.Sprintf("%s", got), value)
			}
		}
	}
}

// What a Union is does not depend on the one before: another server may not have seen that, since it began with a snapshot.
func TestUnionIsTheSameWhateverCameBefore(t *testing.T) {
	names := []string{`a`, `a\"`, `a\":1,\"b`, `\":\"`, `\\`, `a\\`, `a\\\":[`, `\u0061`, `ä`, `\u00e4`, ``, `a\":{},\"b`, `aaaaaaaaaaaaaaaa\":1,\"bbbbbbbbbbbbbbbbbb`}
	var inputs []string
	for _, name := range names {
		inputs = append(inputs, `"`+name+`"`, `{"`+name+`":1}`, `{"`+name+`":{"b":[2]}}`)
		raw := strings.ReplaceAll(name, `\"`, `"`) // two members now, or one of another name
		inputs = append(inputs, `{"`+raw+`":1}`, `{"`+raw+`":"]"}`, `{"`+raw+`]:1}`)
	}
	for _, before := range inputs {
		for _, input := range inputs {
			if !json.Valid([]byte(before)) || !json.Valid([]byte(input)) {
				continue
			}
			ctx := machine.NewContext(machine.Command, 1, time.Unix(0, 0))
			var fresh, used []machine.Union
			_, want := machine.JSON(&unions{&fresh}).Apply(ctx, []byte(input))
			m := machine.JSON(&unions{&used})
			_, _ = m.Apply(ctx, []byte(before))
			used = nil
			_, got := m.Apply(ctx, []byte(input))
			requireSameError(t, want, got)
			require.Equal(t, fresh, used, "%s after %s", input, before)
		}
	}
}

type unions struct{ all *[]machine.Union }

func (m *unions) Apply(_ *machine.Context, in machine.Union) (any, error) {
	*m.all = append(*m.all, in)
	return nil, nil
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
		var seen []machine.Union
		m, ctx := machine.JSON(&unions{&seen}), machine.NewContext(machine.Command, 1, time.Unix(0, 0))
		for range 2 { // the second time its tag is known
			_, again := m.Apply(ctx, []byte(input))
			requireSameError(t, err, again)
		}
		if err == nil {
			require.Equal(t, []machine.Union{u, u}, seen)
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
