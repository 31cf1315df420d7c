package machine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gojson "github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

func TestKindHasExactlyItsNames(t *testing.T) {
	for kind, name := range map[machine.Kind]string{
		machine.Command: "Command", machine.Query: "Query", machine.LocalQuery: "LocalQuery",
	} {
		text, err := kind.MarshalText()
		require.NoError(t, err)
		require.Equal(t, name, string(text))
		require.Equal(t, name, kind.String())
		var back machine.Kind
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, kind, back)
	}
	for _, text := range []string{"", "command", "Command ", "Kind(0)", "QUERY"} {
		kind := machine.Query
		require.Error(t, kind.UnmarshalText([]byte(text)), "%q", text)
		require.Equal(t, machine.Query, kind)
	}
	_, err := machine.Kind(0).MarshalText()
	require.Error(t, err, "the zero value is no kind")
	require.Equal(t, "Kind(4)", machine.Kind(4).String())
}

func TestContextTimeIsUTCInMilliseconds(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	require.Equal(t, time.Date(2026, 5, 1, 11, 0, 0, 123000000, time.UTC), machine.NewContext(machine.Query, 1, at).Time)
}

func TestRandDependsOnThePlaceAlone(t *testing.T) {
	draw := func(cluster string, index uint64, offset int) uint64 {
		ctx := machine.Context{Kind: machine.Command, Cluster: cluster, Index: index, Offset: offset, Time: time.Now()}
		return ctx.Rand().Uint64()
	}
	require.Equal(t, draw("c", 7, 1), draw("c", 7, 1))
	seen := map[uint64]bool{}
	for _, n := range []uint64{draw("c", 7, 1), draw("c", 7, 2), draw("c", 8, 1), draw("d", 7, 1), draw("", 7, 1)} {
		require.False(t, seen[n])
		seen[n] = true
	}
	ctx := machine.NewContext(machine.Command, 1, time.Now())
	require.NotEqual(t, ctx.Rand().Uint64(), ctx.Rand().Uint64(), "one stream, not the same number again")
	// The stream is part of what replicas agree on: these figures must never change.
	require.Equal(t, [2]uint64{827958754848404285, 10926005887484376509}, [2]uint64{draw("c", 7, 1), draw("", 0, 0)})
}

func TestErrorIsFoundWhenWrapped(t *testing.T) {
	err := fmt.Errorf("pay: %w", &machine.Error{Code: 1001, Message: "account overdrawn", Data: 5})
	var own *machine.Error
	require.ErrorAs(t, err, &own)
	require.Equal(t, "account overdrawn (code 1001)", own.Error())
}

type fields struct {
	N    int
	Name string `json:"name"`
	Raw  json.RawMessage
	Num  json.Number
	List []int
	Pair [2]int
	D    time.Duration
	Any  any
	P    *int
}

// echo answers its decoded input and keeps it as its state.
type echo struct{ In fields }

func (e *echo) Apply(_ *machine.Context, in fields) (any, error) {
	e.In = in
	return in, nil
}

// Each of these passes encoding/json, which is how replicas and clients come to differ about what was asked.
func TestInputsAreDecodedStrictly(t *testing.T) {
	for name, input := range map[string]string{
		"unknown member":           `{"N":1,"M":2}`,
		"wrong case":               `{"n":1}`,
		"wrong case of a tag":      `{"Name":"x"}`,
		"duplicate member":         `{"N":1,"N":1}`,
		"duplicate, escaped":       `{"N":1,"\u004e":1}`,
		"duplicate in a raw value": `{"Raw":{"a":1,"a":2}}`,
		"short array":              `{"Pair":[1]}`,
		"long array":               `{"Pair":[1,2,3]}`,
		"number as a string":       `{"Num":"12"}`,
		"invalid UTF-8":            "{\"name\":\"\xff\"}",
		"lone surrogate":           `{"name":"\ud800"}`,
	} {
		require.NoError(t, json.Unmarshal([]byte(input), new(fields)), name)
		_, err := machine.JSON(&echo{}).Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(input))
		require.Error(t, err, name)
	}
}

type cupboard struct{ Raw []json.RawMessage }

func (c *cupboard) Apply(_ *machine.Context, in machine.Union) (any, error) {
	c.Raw = append(c.Raw, bytes.Clone(in.Value))
	return nil, nil
}

// Whatever raw value an input brings into a state, snapshots carry it, byte for byte.
func TestRawValuesOfInputsFitIntoSnapshots(t *testing.T) {
	c := new(cupboard)
	m := machine.JSON(c)
	put := func(value string) error {
		input := []byte(`{"Put":` + value + `}`)
		if err := m.(machine.Validator).Validate(input); err != nil { // as servers do before they log it
			return err
		}
		_, err := m.Apply(machine.NewContext(machine.Command, 2, time.Now()), input)
		return err
	}
	for _, v := range []string{`"\ud83d\uDE00"`, `"\\ud800"`, `"\u0000"`, `{"a":1,"a":2}`, `1e999999`, `-0`, `"<\/\u003c>"`, `null`} {
		require.NoError(t, put(v), v)
	}
	kept := slices.Clone(c.Raw)
	for _, v := range []string{`"\ud800"`, `["k","\udc00"]`, `{"\ud800":1}`, `"\ud800\u0041"`, `"\uDBFF"`, `"\ude00\ud83d"`} {
		require.ErrorContains(t, put(v), "surrogate pair", v)
	}
	require.Equal(t, kept, c.Raw)
	snapshot, err := m.Snapshot()
	require.NoError(t, err)
	again := new(cupboard)
	require.NoError(t, machine.JSON(again).Restore(snapshot))
	require.Equal(t, kept, again.Raw)
}

// What is accepted means the same as in encoding/json, and nothing is accepted that it refuses.
func FuzzInputsMeanWhatTheyMeanInEncodingJSON(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `{} x`, `{}{}`, `{"N":1}`, `{"N":1.0}`, `{"N":1e400}`, `{"N":9223372036854775808}`, `{"N":-0}`,
		`{"name":"é\u00e9\n\ud83d\ude00"}`, `{"Raw":{"a":[1.50,null]}}`, `{"Raw":null}`, `{"Num":123456789012345678901234567890}`,
		`{"Num":1.50E+3}`, `{"Num":null}`, `{"Num":{}}`, `{"List":[1,2],"Pair":[3,4]}`, `{"List":[1,]}`, `{"D":1500000000}`, `{"Any":{"x":1e2}}`,
		`{"P":null}`, `{"P":5}`, ` { "N" : 1 } `, "\ufeff{}", `{"N":01}`, `{"N":+1}`, `{"name":"` + "\x01" + `"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input string) {
		out, err := machine.JSON(&echo{}).Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(input))
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(input))
		d.DisallowUnknownFields()
		var want fields
		require.NoError(t, d.Decode(&want))
		_, err = d.Token()
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want, out)
	})
}

func TestSnapshotReadsBackAsItWas(t *testing.T) {
	before := &echo{fields{
		N: -5, Name: "<&>\u2028", Num: "1.50E+400", List: []int{}, Pair: [2]int{1, 2}, D: time.Second, P: new(0),
		Raw: json.RawMessage(`{"b":"\u003c<\/","b":123456789012345678901234567890,"a":1.50}`),
	}}
	snapshot, err := machine.JSON(before).Snapshot()
	require.NoError(t, err)
	require.NotContains(t, string(snapshot), `\u0026`, "HTML is not escaped")
	after := &echo{fields{N: 1, List: []int{1, 2}, Any: "old"}}
	require.NoError(t, machine.JSON(after).Restore(snapshot))
	require.Equal(t, before, after)
	again, err := machine.JSON(after).Snapshot()
	require.NoError(t, err)
	require.Equal(t, string(snapshot), string(again))
}

type maps map[string]json.RawMessage

func (m maps) Apply(_ *machine.Context, key string) (any, error) {
	m[key] = json.RawMessage(`1`)
	return nil, nil
}

func TestRestoreReplacesAndIsAllOrNothing(t *testing.T) {
	state := maps{"old": json.RawMessage(`1`)}
	m := machine.JSON(&state)
	for _, bad := range []string{``, `[]`, `{"a":1`, `{"a":1} x`, "{\"a\":\"\xff\"}"} {
		require.Error(t, m.Restore([]byte(bad)), bad)
		require.Equal(t, maps{"old": json.RawMessage(`1`)}, state)
	}
	require.NoError(t, m.Restore([]byte(`{"z":{"x": 1},"a":null}`)))
	require.Equal(t, maps{"a": json.RawMessage(`null`), "z": json.RawMessage(`{"x": 1}`)}, state)
	snapshot, err := m.Snapshot()
	require.NoError(t, err)
	require.Equal(t, `{"a":null,"z":{"x":1}}`, string(snapshot), "keys sorted, compact")

	require.Error(t, machine.JSON(&counter{}).Restore([]byte(`{"Value":1,"New":2}`)), "a newer version's state is not cut short")
}

func TestMapStateIsNeverNil(t *testing.T) {
	m := machine.JSON(new(maps))
	_, err := m.Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(`"k"`))
	require.NoError(t, err)
	require.NoError(t, m.Restore([]byte(`null`)))
	_, err = m.Apply(machine.NewContext(machine.Command, 3, time.Now()), []byte(`"k"`))
	require.NoError(t, err)
}

type validated struct{ counter }

func (*validated) Validate(add int) error {
	if add < 0 {
		return errors.New("negative")
	}
	return nil
}

type captured struct{ counter }

func (c *captured) Capture() (func(io.Writer) error, error) {
	n := c.Value
	return func(w io.Writer) error { _, err := fmt.Fprintf(w, `{"Value":%d}`, n); return err }, nil
}

func (c *captured) Load(r io.Reader) (func(), error) {
	var fresh counter
	err := json.NewDecoder(r).Decode(&fresh)
	return func() { c.counter = fresh }, err
}

type versioned struct{ counter }

func (*versioned) Version() int { return 3 }

func (*versioned) Needs(add int) int {
	if add < 0 {
		return 3
	}
	return 1
}

type hashed struct{ counter }

func (h *hashed) Hash() uint64 { return uint64(h.Value) }

type all struct {
	validated
	v versioned
	c captured
	h hashed
}

func (a *all) Capture() (func(io.Writer) error, error) { return a.c.Capture() }
func (a *all) Load(r io.Reader) (func(), error)        { return a.c.Load(r) }
func (a *all) Version() int                            { return a.v.Version() }
func (a *all) Needs(add int) int                       { return a.v.Needs(add) }
func (a *all) Hash() uint64                            { return a.h.Hash() }

func TestJSONHasTheOptionalMethodsOfItsState(t *testing.T) {
	for _, tt := range []struct {
		name                                  string
		m                                     machine.Machine
		validates, captures, versions, hashes bool
	}{
		{"plain", machine.JSON(&counter{}), false, false, false, false},
		{"validated", machine.JSON(&validated{}), true, false, false, false},
		{"captured", machine.JSON(&captured{}), false, true, false, false},
		{"versioned", machine.JSON(&versioned{}), false, false, true, false},
		{"hashed", machine.JSON(&hashed{}), false, false, false, true},
		{"all", machine.JSON(&all{}), true, true, true, true},
	} {
		refused := tt.m.(machine.Validator).Validate([]byte(`-1`))
		require.NoError(t, tt.m.(machine.Validator).Validate([]byte(`1`)), tt.name)
		if tt.validates {
			require.ErrorContains(t, refused, "negative")
			require.Error(t, tt.m.(machine.Validator).Validate([]byte(`"x"`)))
		} else {
			require.NoError(t, refused, tt.name)
		}
		version, needs := 0, 0
		if tt.versions {
			version, needs = 3, 3
		}
		require.Equal(t, version, tt.m.(machine.Versioned).Version(), tt.name)
		require.Equal(t, needs, tt.m.(machine.Needer).Needs([]byte(`-1`)), tt.name)
		require.Zero(t, tt.m.(machine.Needer).Needs([]byte(`"x"`)), tt.name)
		h, hashes := tt.m.(machine.Hasher)
		require.Equal(t, tt.hashes, hashes, tt.name)
		if hashes {
			require.Zero(t, h.Hash())
		}
		s, captures := tt.m.(machine.Snapshotter)
		require.Equal(t, tt.captures, captures, tt.name)
		if captures {
			write, err := s.Capture()
			require.NoError(t, err)
			var b bytes.Buffer
			require.NoError(t, write(&b))
			require.Equal(t, `{"Value":0}`, b.String())
			install, err := s.Load(strings.NewReader(`{"Value":7}`))
			require.NoError(t, err)
			install()
			write, err = s.Capture()
			require.NoError(t, err)
			b.Reset()
			require.NoError(t, write(&b))
			require.Equal(t, `{"Value":7}`, b.String())
		}
	}
}

// Hashes are compared between servers, so equal states must be equal bytes, whatever order a map has been filled in.
func TestSnapshotsOfEqualStatesAreEqualBytes(t *testing.T) {
	type state struct {
		Plain maps
		Named map[string]map[int]any
		Odd   map[kindKey]struct{}
	}
	make := func(order []int) []byte {
		s := state{maps{}, map[string]map[int]any{}, map[kindKey]struct{}{}}
		for _, i := range order {
			key := fmt.Sprint("key", i)
			s.Plain[key] = json.RawMessage(`1`)
			s.Named[key] = map[int]any{i: map[string]any{key: 1, "b": 2, "a": 3}, -i - 1: nil}
			s.Odd[kindKey(i)] = struct{}{}
		}
		b, err := machine.JSON(&wrapped[state]{s}).Snapshot()
		require.NoError(t, err)
		v1, err := gojson.Marshal(s) // what other machines use, says the package comment
		require.NoError(t, err)
		return append(b, v1...)
	}
	up, down := []int{}, []int{}
	for i := range 200 {
		up, down = append(up, i), append([]int{i}, down...)
	}
	want := string(make(up))
	for range 10 {
		require.Equal(t, want, string(make(down)))
	}
}

type kindKey int

func (k kindKey) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "kind %d", k), nil }

type wrapped[S any] struct{ State S }

func (*wrapped[S]) Apply(*machine.Context, int) (any, error) { return nil, nil }
