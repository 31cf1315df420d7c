package ids

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

var machineConfig = machinetest.Config{New: New, Inputs: []any{
	json.RawMessage(`{"NextID":["orders",10]}`),
	json.RawMessage(`{"NextID":["bills",1]}`),
	json.RawMessage(`{"CurID":"orders"}`),
	json.RawMessage(`{"Ulids":3}`),
	json.RawMessage(`{"Ulids":1048576}`),
}}

func TestMachine(t *testing.T) { machinetest.Run(t, machineConfig) }

func FuzzMachine(f *testing.F) { machinetest.Fuzz(f, machineConfig) }

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// run is a machine, with the commands that it has got.
type run struct {
	t       *testing.T
	state   *state
	machine machine.Machine
	index   uint64
}

func start(t *testing.T) *run {
	s := &state{Next: map[string]uint64{}}
	return &run{t: t, state: s, machine: machine.JSON(s)}
}

func (r *run) command(at time.Time, input string) (any, error) {
	r.index++
	return r.machine.Apply(machine.NewContext(machine.Command, r.index, at), json.RawMessage(input))
}

func (r *run) text(at time.Time, input string) string {
	r.t.Helper()
	out, err := r.command(at, input)
	require.NoError(r.t, err)
	b, err := json.Marshal(out)
	require.NoError(r.t, err)
	return string(b)
}

func (r *run) ulids(at time.Time, n int) Block {
	r.t.Helper()
	out, err := r.command(at, fmt.Sprintf(`{"Ulids":%d}`, n))
	require.NoError(r.t, err)
	return out.(Block)
}

func plus(t *testing.T, id ulid.ULID, n uint64) ulid.ULID {
	t.Helper()
	sum, ok := Add(id, n)
	require.True(t, ok)
	return sum
}

func TestSequencesBeginAtOneAndAreSeparate(t *testing.T) {
	r := start(t)
	require.Equal(t, `1`, r.text(noon, `{"CurID":"a"}`))
	require.Equal(t, `{"from":1,"to":11}`, r.text(noon, `{"NextID":["a",10]}`))
	require.Equal(t, `{"from":11,"to":12}`, r.text(noon, `{"NextID":["a",1]}`))
	require.Equal(t, `{"from":1,"to":1048577}`, r.text(noon, `{"NextID":["b",1048576]}`))
	require.Equal(t, `12`, r.text(noon, `{"CurID":"a"}`))
	require.Equal(t, map[string]uint64{"a": 12, "b": 1048577}, r.state.Next, "to ask for a name makes no sequence")
}

func TestQueriesAskForTheNextIDOnly(t *testing.T) {
	r := start(t)
	r.text(noon, `{"NextID":["a",10]}`)
	before := *r.state
	for _, kind := range []machine.Kind{machine.Query, machine.LocalQuery} {
		ctx := machine.NewContext(kind, 1, noon)
		out, err := r.machine.Apply(ctx, json.RawMessage(`{"CurID":"a"}`))
		require.NoError(t, err)
		require.Equal(t, uint64(11), out)
		for _, input := range []string{`{"NextID":["a",1]}`, `{"Ulids":1}`} {
			_, err := r.machine.Apply(ctx, json.RawMessage(input))
			require.ErrorContains(t, err, "must be a Command")
		}
	}
	require.Equal(t, before, *r.state)
}

func TestULIDsCountUpWithinAMillisecondAndBeginAnewInTheNext(t *testing.T) {
	r := start(t)
	a := r.ulids(noon, 1)
	require.Equal(t, a.First, a.Last)
	require.Equal(t, ulid.Timestamp(noon), a.First.Time())
	b := r.ulids(noon, 1000)
	require.Equal(t, plus(t, a.Last, 1), b.First)
	require.Equal(t, plus(t, b.First, 999), b.Last)
	c := r.ulids(noon.Add(time.Millisecond), 2)
	require.Equal(t, ulid.Timestamp(noon)+1, c.First.Time())
	require.NotEqual(t, b.Last.Entropy(), c.First.Entropy())
	require.NotEqual(t, plus(t, b.Last, 1).Entropy(), c.First.Entropy())
	require.Less(t, c.First.Entropy()[0], byte(0x80), "room for 2⁷⁹ in the same millisecond")
	require.Equal(t, plus(t, c.First, 1), c.Last)
	d := plus(t, c.Last, 1)
	require.Equal(t, fmt.Sprintf(`{"first":%q,"last":%q}`, d, d), r.text(noon, `{"Ulids":1}`))
}

// A machine's time never decreases as long as its servers keep their files. Even if it did, ids would not.
func TestULIDsGrowWhateverTheClockDoes(t *testing.T) {
	r := start(t)
	last := ulid.ULID{}
	latest := time.Time{}
	for _, at := range []time.Duration{0, time.Hour, time.Hour - 1, 0, -time.Hour, time.Hour, 2 * time.Hour, -100 * 365 * 24 * time.Hour} {
		block := r.ulids(noon.Add(at), 3)
		require.Positive(t, block.First.Compare(last), "at %v", at)
		require.Equal(t, plus(t, block.First, 2), block.Last)
		if now := noon.Add(at); now.After(latest) {
			latest = now
		}
		require.Equal(t, ulid.Timestamp(latest), block.First.Time(), "at %v", at)
		last = block.Last
	}
}

func TestULIDsBeginBefore1970(t *testing.T) {
	r := start(t)
	a, b := r.ulids(time.Unix(-5, 0), 1), r.ulids(time.Unix(-4, 0), 1)
	require.Zero(t, b.First.Time())
	require.Positive(t, b.First.Compare(a.Last))
	require.NotZero(t, a.First)
}

func TestULIDsGoOnInTheNextMillisecondWhenTheRandomPartIsFull(t *testing.T) {
	r := start(t)
	r.ulids(noon, 1)
	copy(r.state.Last[6:], []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 254})
	last := r.state.Last
	b := r.ulids(noon, 3)
	require.Equal(t, plus(t, last, 1), b.First)
	require.Equal(t, ulid.Timestamp(noon), b.First.Time())
	require.Equal(t, ulid.Timestamp(noon)+1, b.Last.Time())
	c := r.ulids(noon.Add(time.Millisecond), 1)
	require.Equal(t, plus(t, b.Last, 1), c.First, "the millisecond has begun")
}

func TestULIDsEnd(t *testing.T) {
	r := start(t)
	end := time.UnixMilli(1<<48 - 1)
	require.Equal(t, uint64(1<<48-1), r.ulids(end, 1).First.Time())
	before := *r.state
	_, err := r.command(end.Add(time.Millisecond), `{"Ulids":1}`)
	require.ErrorContains(t, err, "10889")
	require.Equal(t, before, *r.state)

	for i := range r.state.Last {
		r.state.Last[i] = 255
	}
	r.state.Last[15] = 253 // two are left
	before = *r.state
	var own *machine.Error
	_, err = r.command(end, `{"Ulids":3}`)
	require.ErrorAs(t, err, &own)
	require.Equal(t, CodeUsedUp, own.Code)
	require.Equal(t, before, *r.state)
	r.ulids(end, 2)
	before = *r.state
	_, err = r.command(end, `{"Ulids":1}`)
	require.ErrorAs(t, err, &own)
	require.Equal(t, before, *r.state)
}

func TestSequencesEnd(t *testing.T) {
	r := start(t)
	r.state.Next["a"] = math.MaxUint64 - 5
	_, err := r.command(noon, `{"NextID":["a",6]}`)
	require.Equal(t, &machine.Error{Code: CodeUsedUp, Message: "Too few ids are left", Data: uint64(5)}, err)
	require.Equal(t, uint64(math.MaxUint64-5), r.state.Next["a"])
	require.Equal(t, `{"from":18446744073709551610,"to":18446744073709551615}`, r.text(noon, `{"NextID":["a",5]}`))
	require.Equal(t, `18446744073709551615`, r.text(noon, `{"CurID":"a"}`))
	_, err = r.command(noon, `{"NextID":["a",1]}`)
	require.Equal(t, &machine.Error{Code: CodeUsedUp, Message: "Too few ids are left", Data: uint64(0)}, err)
}

func TestNamesAreBounded(t *testing.T) {
	r := start(t)
	for i := range maxNames {
		r.state.Next[fmt.Sprint(i)] = 2
	}
	_, err := r.command(noon, `{"NextID":["another",1]}`)
	require.Equal(t, &machine.Error{Code: CodeTooManyNames, Message: "Too many sequences", Data: maxNames}, err)
	require.Len(t, r.state.Next, maxNames)
	require.Equal(t, `{"from":2,"to":3}`, r.text(noon, `{"NextID":["7",1]}`), "those that are there go on")
}

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	long := fmt.Sprintf("%0129d", 0)
	for _, c := range []struct{ input, says string }{
		{`null`, "want a string or an object"},
		{`{}`, "want a string or an object"},
		{`[1]`, "want a string or an object"},
		{`{"NextID":["a",1],"CurID":"a"}`, "want a string or an object"},
		{`"NextID"`, "takes an array of 2"},
		{`"CurID"`, "a value is missing"},
		{`"Ulids"`, "a value is missing"},
		{`{"nextid":["a",1]}`, `unknown operation "nextid"`},
		{`{"NextID":null}`, "takes an array of 2"},
		{`{"NextID":[]}`, "takes an array of 2"},
		{`{"NextID":["a"]}`, "takes an array of 2"},
		{`{"NextID":["a",1,1]}`, "takes an array of 2"},
		{`{"NextID":{"name":"a","n":1}}`, "takes an array of 2"},
		{`{"NextID":[1,"a"]}`, "element 0"},
		{`{"NextID":[null,1]}`, "element 0"},
		{`{"NextID":["a",null]}`, "element 1"},
		{`{"NextID":["a","1"]}`, "element 1"},
		{`{"NextID":["a",1.5]}`, "element 1"},
		{`{"NextID":["a",-1]}`, "element 1"},
		{`{"NextID":["a",18446744073709551616]}`, "element 1"},
		{`{"NextID":["a",1e300]}`, "element 1"},
		{`{"NextID":["a",0]}`, "1 to 1048576 ids, not 0"},
		{`{"NextID":["a",1048577]}`, "1 to 1048576 ids"},
		{`{"NextID":["a",18446744073709551615]}`, "1 to 1048576 ids"},
		{`{"NextID":["",1]}`, "1 to 128 bytes, not 0"},
		{`{"NextID":["` + long + `",1]}`, "1 to 128 bytes, not 129"},
		{`{"CurID":""}`, "1 to 128 bytes, not 0"},
		{`{"CurID":"` + long + `"}`, "1 to 128 bytes, not 129"},
		{`{"CurID":["a"]}`, "CurID"},
		{`{"CurID":null}`, "CurID"},
		{`{"Ulids":0}`, "1 to 1048576 ids, not 0"},
		{`{"Ulids":-1}`, "Ulids"},
		{`{"Ulids":1048577}`, "1 to 1048576 ids"},
		{`{"Ulids":18446744073709551616}`, "Ulids"},
		{`{"Ulids":null}`, "Ulids"},
		{`{"Ulids":[1]}`, "Ulids"},
		{`{"Ulids":"1"}`, "Ulids"},
	} {
		r := start(t)
		r.ulids(noon, 1)
		r.text(noon, `{"NextID":["a",10]}`)
		before := *r.state
		_, err := r.command(noon, c.input)
		require.ErrorContains(t, err, c.says, c.input)
		require.Equal(t, before.Last, r.state.Last, c.input)
		require.Equal(t, map[string]uint64{"a": 11}, r.state.Next, c.input)
	}
}

// BenchmarkApply is the machine alone.
func BenchmarkApply(b *testing.B) {
	for _, input := range []string{`{"NextID":["orders",1000]}`, `{"Ulids":1000}`} {
		b.Run(input, func(b *testing.B) {
			m := New()
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				if _, err := m.Apply(machine.NewContext(machine.Command, i, noon), json.RawMessage(input)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
