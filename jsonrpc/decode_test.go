package jsonrpc

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRequest(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		line string
		want Request
		err  error
		why  string
	}{
		{`{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":0}`, Request{"m", []byte(`{"a":1}`), []byte(`0`)}, nil, "the usual"},
		{`{"id":0,"params":[1, 2],"method":"m","jsonrpc":"2.0"}`, Request{"m", []byte(`[1, 2]`), []byte(`0`)}, nil, "any order; spans as sent"},
		{` {	"jsonrpc" : "2.0" , "method" : "m" } `, Request{"m", nil, nil}, nil, "a notification; white space"},
		{`{"jsonrpc":"2.0","method":"m","id":null}`, Request{"m", nil, []byte(`null`)}, nil, "id null is an id"},
		{`{"jsonrpc":"2.0","method":"m","id":"\u0041\/"}`, Request{"m", nil, []byte(`"\u0041\/"`)}, nil, "an id stays as sent"},
		{`{"jsonrpc":"2.0","method":"m","id":-1.50E+9}`, Request{"m", nil, []byte(`-1.50E+9`)}, nil, "any number"},
		{`{"jsonrpc":"2.0","me\u0074hod":"m"}`, Request{"m", nil, nil}, nil, "an escaped name is that name"},
		{`{"jsonrpc":"2.0","method":"\u0041\n\"ü\ud83d\ude00"}`, Request{"A\n\"ü😀", nil, nil}, nil, "escapes in the method"},
		{`{"jsonrpc":"\u0032.0","method":""}`, Request{"", nil, nil}, nil, "escapes in the version; an empty method"},
		{`{"jsonrpc":"2.0","method":"m","Id":1,"x":{"id":[]}}`, Request{"m", nil, nil}, nil, "unknown members, case, ignored"},
		{`{"jsonrpc":"2.0","method":"` + long + `"}`, Request{long, nil, nil}, nil, "a long method"},
		{`{"jsonrpc":"2.0","method":"m","params":` + deep(127) + `}`, Request{"m", []byte(deep(127)), nil}, nil, "128 deep"},

		{`{"jsonrpc":"2.0","method":"m","params":` + deep(128) + `}`, Request{}, ErrParse, "129 deep"},
		{`{"jsonrpc":"2.0","method":"m"`, Request{}, ErrParse, "cut short"},
		{`{"jsonrpc":"2.0","method":"m"}}`, Request{}, ErrParse, "a tail"},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}", Request{}, ErrParse, "not UTF-8"},
		{`{"method":1,"method":2,"id":{}`, Request{}, ErrParse, "no JSON goes before no request"},
		{`   `, Request{}, ErrParse, "white space alone"},

		{`1`, Request{}, ErrInvalidRequest, "a scalar"},
		{`"method"`, Request{}, ErrInvalidRequest, "a string"},
		{`{}`, Request{}, ErrInvalidRequest, "nothing in it"},
		{`{"jsonrpc":"2.0","id":1}`, Request{}, ErrInvalidRequest, "no method"},
		{`{"jsonrpc":"2.0","method":null}`, Request{}, ErrInvalidRequest, "method no string"},
		{`{"method":"m"}`, Request{}, ErrInvalidRequest, "no version"},
		{`{"jsonrpc":"1.0","method":"m"}`, Request{}, ErrInvalidRequest, "another version"},
		{`{"jsonrpc":2.0,"method":"m"}`, Request{}, ErrInvalidRequest, "version no string"},
		{`{"jsonrpc":"2.0","method":"m","id":{}}`, Request{}, ErrInvalidRequest, "id an object"},
		{`{"jsonrpc":"2.0","method":"m","id":[1]}`, Request{}, ErrInvalidRequest, "id an array"},
		{`{"jsonrpc":"2.0","method":"m","id":true}`, Request{}, ErrInvalidRequest, "id a boolean"},
		{`{"jsonrpc":"2.0","method":"m","params":1}`, Request{}, ErrInvalidRequest, "params a scalar"},
		{`{"jsonrpc":"2.0","method":"m","params":null}`, Request{}, ErrInvalidRequest, "params null"},
		{`{"jsonrpc":"2.0","method":"m","method":"m"}`, Request{}, ErrInvalidRequest, "a duplicate"},
		{`{"jsonrpc":"2.0","method":"m","i\u0064":1,"id":1}`, Request{}, ErrInvalidRequest, "a duplicate by another spelling"},
		{`{"jsonrpc":"2.0","method":"m","x":1,"x":1}`, Request{}, ErrInvalidRequest, "a duplicate of an unknown member"},
		{`{"jsonrpc":"2.0","method":"m"` + manyMembers(65) + `}`, Request{}, ErrInvalidRequest, "too many members"},
	} {
		got, err := ParseRequest([]byte(c.line))
		if c.err == nil {
			require.NoError(t, err, c.why)
		} else {
			require.ErrorIs(t, err, c.err, c.why)
		}
		require.Equal(t, c.want, got, c.why)
	}
}

func TestInvalidRequestSaysWhyWithItsID(t *testing.T) {
	for _, c := range []struct{ line, id, reason string }{
		{`{"jsonrpc":"2.0","method":"m","params":null,"id":7}`, `7`, `"params" must be an object or an array, not null: leave it out if there are none`},
		{`{"id":"a","jsonrpc":"2.0","method":"m","params":"x"}`, `"a"`, `"params" must be an object or an array`},
		{`{"jsonrpc":"1.0","method":"m","id":1.5}`, `1.5`, `"jsonrpc" must be "2.0"`},
		{`{"method":"m","id":null}`, `null`, `"jsonrpc" must be "2.0"`},
		{`{"jsonrpc":"2.0","id":1}`, `1`, `"method" is missing`},
		{`{"jsonrpc":"2.0","method":1,"id":1}`, `1`, `"method" must be a string`},
		{`{"jsonrpc":"2.0","method":"m","method":"m","id":1}`, `1`, `a member is given twice`},
		{`{"jsonrpc":"2.0","method":"m","x":1,"x":1,"id":1}`, `1`, `a member is given twice`},
		{`{"jsonrpc":"2.0","method":"m"` + manyMembers(65) + `,"id":1}`, `1`, `more than 64 unknown members`},
		{`{"jsonrpc":"2.0","method":"m","id":1,"id":2}`, ``, `a member is given twice`},
		{`{"jsonrpc":"2.0","method":"m","id":1,"id":2,"id":3}`, ``, `a member is given twice`},
		{`{"jsonrpc":"2.0","method":"m","id":[]}`, ``, `"id" must be a number, a string or null`},
		{`{"jsonrpc":"2.0","params":null}`, ``, `"params" must be an object or an array, not null: leave it out if there are none`},
		{`1`, ``, `a request is an object, or an array of requests`},
		{`{"jsonrpc":"1.0","id":1`, ``, `not one whole JSON value in this line`},
		{"{\"id\":1,\"\xff\":1}", ``, `not UTF-8`},
		{`{"id":1,"params":` + strings.Repeat("[", 129) + strings.Repeat("]", 129) + `}`, ``, `nested too deep`},
	} {
		var r Request
		err := decode([]byte(c.line), MaxDepth, &r, nil)
		require.Error(t, err, c.line)
		require.Equal(t, c.id, string(r.ID), c.line)
		var data struct{ Reason string }
		if len(err.Data) > 0 {
			require.NoError(t, stdjson.Unmarshal(err.Data, &data))
		}
		require.Equal(t, c.reason, data.Reason, c.line)
	}
}

func manyMembers(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `,"%d":0`, i)
	}
	return s.String()
}

func TestParseResponse(t *testing.T) {
	r, err := ParseResponse([]byte(`{"jsonrpc":"2.0","id":7,"error":{"code":100,"message":"m","data":{"a":[1]}}}`))
	require.NoError(t, err)
	require.Equal(t, Response{ID: []byte(`7`), Err: &Error{100, "m", []byte(`{"a":[1]}`)}}, r)
	r, err = ParseResponse([]byte(`{"result":null,"id":"x","jsonrpc":"2.0"}`))
	require.NoError(t, err)
	require.Equal(t, Response{ID: []byte(`"x"`), Result: []byte(`null`)}, r)
	for _, line := range []string{
		`{`, `1`, `{}`, `{"jsonrpc":"2.0","id":1}`, `{"jsonrpc":"2.0","result":1}`, `{"id":1,"result":1}`,
		`{"jsonrpc":"2.0","id":1,"result":1,"result":2}`, `{"jsonrpc":"2.0","id":1,"error":null}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}`, `{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}`,
	} {
		_, err := ParseResponse([]byte(line))
		require.Error(t, err, line)
	}
}

func TestMembersAndElements(t *testing.T) {
	var got []string
	note := func(name, value []byte) error {
		got = append(got, string(name)+"="+string(value))
		return nil
	}
	require.NoError(t, Members([]byte(` { "a" : [ 1 ] , "\u0062":"x" } `), note))
	require.Equal(t, []string{"a=[ 1 ]", `b="x"`}, got)
	require.ErrorIs(t, Members([]byte(`{"a":1,"\u0061":2}`), note), errDuplicate)
	require.ErrorIs(t, Members([]byte(`[1]`), note), errNoObject)
	require.ErrorIs(t, Members(nil, note), errNoObject)
	require.ErrorIs(t, Members([]byte(`{"a":1`), note), errInvalid)
	require.NoError(t, Members([]byte(`{"-":0`+manyMembers(63)+`}`), note))
	require.ErrorIs(t, Members([]byte(`{"-":0`+manyMembers(64)+`}`), note), errMembers)

	stop := errors.New("stop")
	calls := 0
	require.ErrorIs(t, Members([]byte(`{"a":1,"b":2}`), func(_, _ []byte) error { calls++; return stop }), stop)
	require.Equal(t, 1, calls, "fn is not called after its error")

	got = nil
	require.NoError(t, Elements([]byte(`[ 1,"x" , {} ]`), func(v []byte) error { got = append(got, string(v)); return nil }))
	require.Equal(t, []string{"1", `"x"`, "{}"}, got)
	require.ErrorIs(t, Elements([]byte(`{}`), nil), errNoArray)
	require.ErrorIs(t, Elements([]byte(`[1`), func([]byte) error { return nil }), errInvalid)
}

func TestCompactReturnsItsArgumentWhereNothingIsToDo(t *testing.T) {
	b := []byte(`{"a b":"\" \\","c":[1,2]}`)
	require.Same(t, &b[0], &Compact(b)[0])
	require.Equal(t, string(b), string(Compact([]byte(" {\r\n\"a b\"\t: \"\\\" \\\\\" , \"c\":[ 1 ,2] } "))))
	require.Empty(t, Compact([]byte(" ")))
}

func FuzzParseRequestAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if nesting(b) > MaxDepth {
			return
		}
		got, err := ParseRequest(b)
		parses := Valid(b, MaxDepth) == nil
		if parses == errors.Is(err, ErrParse) {
			t.Fatalf("%q: Valid says %v, ParseRequest says %v", b, parses, err)
		}
		if err != nil {
			return
		}
		var want map[string]stdjson.RawMessage // exact names, unescaped, and the last of duplicates
		if err := stdjson.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		var method string
		if err := stdjson.Unmarshal(want["method"], &method); err != nil || method != got.Method {
			t.Fatalf("%q: method %q, want %q, %v", b, got.Method, method, err)
		}
		if !bytes.Equal(got.Params, want["params"]) || !bytes.Equal(got.ID, want["id"]) {
			t.Fatalf("%q: params %q and id %q, want %q and %q", b, got.Params, got.ID, want["params"], want["id"])
		}
		again, err := ParseRequest(AppendRequest(nil, &got))
		if err != nil || again.Method != got.Method || !bytes.Equal(again.Params, got.Params) || !bytes.Equal(again.ID, got.ID) {
			t.Fatalf("%q: round trip gives %v, %v", b, again, err)
		}
	})
}

func FuzzMembersAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string]string{}
		err := Members(b, func(name, value []byte) error {
			got[string(name)] = string(value)
			return nil
		})
		if err != nil || Valid(b, MaxDepth) != nil {
			return
		}
		var want map[string]stdjson.RawMessage
		if err := stdjson.Unmarshal(b, &want); err != nil || len(got) != len(want) {
			t.Fatalf("%q: got %v, want %v, %v", b, got, want, err)
		}
		for name, value := range want {
			if got[name] != string(value) {
				t.Fatalf("%q: %q is %q, want %q", b, name, got[name], value)
			}
		}
	})
}

func TestNamesAreInternedWithinBounds(t *testing.T) {
	n := make(names)
	for i := range 1000 {
		require.Equal(t, fmt.Sprint(i), n.intern(fmt.Append(nil, i)))
	}
	require.Len(t, n, maxNames)
	long := bytes.Repeat([]byte("x"), maxName+1)
	require.Equal(t, string(long), n.intern(long))
	require.NotContains(t, n, string(long))
	name := []byte("1")
	require.Zero(t, testing.AllocsPerRun(100, func() { n.intern(name) }))
}

// FuzzShortWayAgreesWithTheLongOne: what the short way takes, the long way takes for the same.
func FuzzShortWayAgreesWithTheLongOne(f *testing.F) {
	whole := `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Query","input":[1,"\\"]},"id":-1.5e3}`
	for i := range whole {
		f.Add([]byte(whole[:i]), []byte(whole[i:])) // whole
		f.Add([]byte(whole[:i]), []byte(whole[i+1:]))
		for _, c := range []string{` `, `"`, `}`, `]`, `,"id":7`, `\u0041`, "\xff"} {
			f.Add([]byte(whole[:i]+c), []byte(whole[i:]))
		}
	}
	for _, id := range []string{``, `,"id":null`, `,"id":nul`, `,"id":"a\"b"`, `,"id":{}`, `,"id":true`, `,"id":01`, `,"id":`, `,"id":1 `, `,"id":1,"id":1`} {
		f.Add([]byte(`{"jsonrpc":"2.0","method":"\n","params":[]`+id), []byte(`}`))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		line := append(bytes.Clone(a), b...)
		for _, depth := range []int{1, 2, 3, MaxDepth} {
			var short, long Request
			if !decodeShort(line, depth, &short, nil) {
				require.Zero(t, short)
				continue
			}
			require.Nil(t, decodeLong(line, depth, &long, nil), "%q", line)
			require.Equal(t, long, short, "%q", line)
		}
	})
}

func TestShortWayIsTakenByWhatOurClientWrites(t *testing.T) {
	for _, r := range []Request{{"Apply", []byte(`{"kind":"Query"}`), []byte(`1`)}, {"Message", []byte(`[]`), nil}} {
		var got Request
		require.True(t, decodeShort(AppendRequest(nil, &r), MaxDepth, &got, nil))
		require.Equal(t, r, got)
	}
}

var envelopeLine = []byte(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":{"Put":["foo",123]}},"id":12345}`)

func BenchmarkDecodeEnvelope(b *testing.B) {
	n := make(names)
	var r Request
	b.ReportAllocs()
	b.SetBytes(int64(len(envelopeLine)))
	for b.Loop() {
		if decode(envelopeLine, MaxDepth, &r, n) != nil {
			b.Fatal()
		}
	}
}

func BenchmarkMembers(b *testing.B) {
	params := []byte(`{"kind":"Command","input":{"Put":["foo",123]}}`)
	b.ReportAllocs()
	for b.Loop() {
		_ = Members(params, func(name, value []byte) error { return nil })
	}
}

func BenchmarkAppendResult(b *testing.B) {
	id, result := []byte("12345"), []byte("null")
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendResult(buf[:0], id, result)
	}
}
