package machine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	gojson "github.com/goccy/go-json"
	gojson2 "github.com/goccy/go-json/v2"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// picky refuses itself.
type picky struct{}

func (picky) UnmarshalJSON([]byte) error { return errors.New("not today") }

// nested decodes what is in it by itself.
type nested struct{ In struct{ N int } }

func (n *nested) UnmarshalJSON(b []byte) error { return gojson2.Unmarshal(b, &n.In) }

type form struct {
	N        int
	U        uint8
	F        float32
	S        string
	B        bool
	Quoted   int `json:",string"`
	List     []string
	Pair     [2]int
	Bytes    []byte
	Map      map[string]int
	Keys     map[int]bool
	Sub      struct{ X *int }
	Time     time.Time
	Duration time.Duration
	Number   gojson.Number
	Raw      gojson.RawMessage
	Kind     machine.Kind
	Union    machine.Union
	Big      *big.Int
	Picky    *picky
	Nested   *nested
}

// decodes has no state.
type decodes struct{}

func (*decodes) Apply(*machine.Context, form) (any, error) { return nil, nil }

// TestDecodingErrorsSpeakOfJSON: clients read them, and know nothing of Go.
func TestDecodingErrorsSpeakOfJSON(t *testing.T) {
	m := machine.JSON(&decodes{})
	for _, c := range []struct{ input, want string }{
		{`{"seen":0}`, `unknown member "seen"`},
		{`{"n":0}`, `unknown member "n"`},
		{`{"Sub":{"a/b":0}}`, `unknown member "a/b" at /Sub`},
		{`{"N":1,"N":2}`, `member "N" is given twice`},
		{`{"Sub":{"X":1,"X":2}}`, `member "X" is given twice at /Sub`},
		{`5`, `want an object, not a number`},
		{`"Watch"`, `want an object, not a string`},
		{`{"N":"1"}`, `want a whole number, not a string at /N`},
		{`{"N":1.5}`, `1.5 is not written as a whole number at /N`},
		{`{"N":1e0}`, `1e0 is not written as a whole number at /N`},
		{`{"N":99999999999999999999}`, `99999999999999999999 does not fit at /N`},
		{`{"U":300}`, `300 does not fit at /U`},
		{`{"U":-1}`, `-1 is negative at /U`},
		{`{"F":1e99}`, `1e99 does not fit at /F`},
		{`{"F":true}`, `want a number, not true at /F`},
		{`{"S":5}`, `want a string, not a number at /S`},
		{`{"S":"\ud800"}`, "invalid surrogate pair `\\ud800\"}` in string in byte 7"},
		{`{"B":1}`, `want true or false, not a number at /B`},
		{`{"Quoted":5}`, `want a string that holds a number, not a number at /Quoted`},
		{`{"Quoted":"x"}`, `"x" holds no number that is taken at /Quoted`},
		{`{"List":{}}`, `want an array, not an object at /List`},
		{`{"List":["a",7]}`, `want a string, not a number at /List/1`},
		{`{"Pair":[1]}`, `want an array of 2 elements at /Pair`},
		{`{"Pair":[1,2,3]}`, `want an array of 2 elements at /Pair`},
		{`{"Bytes":"***"}`, `want a string of base64 at /Bytes`},
		{`{"Bytes":[1]}`, `want a string of base64, not an array at /Bytes`},
		{`{"Map":{"x":"y"}}`, `want a whole number, not a string at /Map/x`},
		{`{"Map":{"` + "\\n" + `":"y"}}`, `want a whole number, not a string at "/Map/\n"`},
		{`{"Keys":{"x":true}}`, `"x" holds no number that is taken at /Keys/x`},
		{`{"Sub":{"X":[]}}`, `want a whole number, not an array at /Sub/X`},
		{`{"Time":5}`, `want a string, not a number at /Time`},
		{`{"Time":"noon"}`, `want a time such as 2006-01-02T15:04:05Z at /Time`},
		{`{"Duration":"1s"}`, `want a whole number, not a string at /Duration`},
		{`{"Number":"1"}`, `not a number at /Number`},
		{`{"Kind":"x"}`, `machine: unknown kind "x" at /Kind`},
		{`{"Union":5}`, `want a string or an object of one member at /Union`},
		{`{"Picky":5}`, `not today at /Picky`},
		{`{"Nested":{"N":"x"}}`, `want a whole number, not a string at /Nested/N`},
		{`{"N":1`, `the value is not complete`},
		{``, `the value is not complete`},
		{`{"` + strings.Repeat("x", 1000) + `":1}`, `unknown member "` + strings.Repeat("x", 64) + `"`},
		{`{"Map":{"` + strings.Repeat("é", 1000) + `":[]}}`, `want a whole number, not an array at …` + strings.Repeat("é", 50)},
		{`{"N":` + strings.Repeat("9", 1000) + `}`, strings.Repeat("9", 40) + ` does not fit at /N`},
	} {
		_, err := m.Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(c.input))
		require.EqualError(t, err, c.want, "%.100s", c.input)
		_, err = m.Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(c.input))
		require.EqualError(t, err, c.want, "it is an outcome: on all servers the same")
	}
	_, err := m.Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(`{"N":"x"}`))
	_, found := errors.AsType[*gojson2.SemanticError](err)
	require.True(t, found, "Go programs still find what the decoder said")
}

func TestUnionErrorsSpeakOfJSON(t *testing.T) {
	var seen struct{ Seen uint64 }
	var s string
	var n int
	var list []int
	for _, c := range []struct {
		input string
		dst   any
		want  string
	}{
		{`{"Watch":{"seen":0}}`, &seen, `"Watch": unknown member "seen"`},
		{`{"Watch":null}`, &seen, `"Watch": want an object, not null`},
		{`{"Watch":null}`, &n, `"Watch": want a whole number, not null`},
		{`{"Watch":null}`, &s, `"Watch": want a string, not null`},
		{`{"Watch":{"Seen":1e0}}`, &seen, `"Watch": 1e0 is not written as a whole number at /Seen`},
		{`{"Watch":[1]}`, &s, `"Watch": want a string, not an array`},
		{`{"Watch":false}`, &list, `"Watch": want an array, not false`},
		{`"Watch"`, &seen, `"Watch": a value is missing`},
	} {
		var u machine.Union
		require.NoError(t, json.Unmarshal([]byte(c.input), &u))
		require.EqualError(t, u.Decode(c.dst), c.want, c.input)
		if c.input != `"Watch"` {
			u.Value = fmt.Appendf(nil, "[0,%s]", u.Value)
			require.EqualError(t, u.Tuple(&n, c.dst), strings.Replace(c.want, ":", ", element 1:", 1), c.input)
		}
	}
}
