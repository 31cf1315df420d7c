package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

func TestVersionsCountPerTenant(t *testing.T) {
	r := newRig(t)
	r.do(`"KVSet":[{"Key":"a","Value":1},{"Key":"b","Value":2},{"Key":"a","Value":3}]`)
	require.Equal(t, []string{"t\x00a", "t\x00b", "t\x00a"}, r.wakes)
	require.Equal(t, `{"kv":[{"Key":"a","Value":3,"Delete":false,"Version":3}]}`, r.get("a"))
	r.apply(machine.Command, 0, `{"Do":{"Tenant":"u","KVSet":[{"Key":"a","Value":9}]}}`)
	require.Equal(t, `{"kv":[{"Key":"a","Value":9,"Delete":false,"Version":1}]}`, r.apply(machine.Query, 0, `{"Get":{"Tenant":"u","KVGet":["a"]}}`))
	r.do(`"KVSet":[{"Key":"a","Delete":true,"Value":null,"Version":3}]`) // what a client got it may send back
	require.Equal(t, `{"kv":[{"Key":"a","Value":null,"Delete":false,"Version":0}]}`, r.get("a"))
	r.restart()
	r.do(`"KVSet":[{"Key":"a","Value":4}]`)
	require.Equal(t, `{"kv":[{"Key":"a","Value":4,"Delete":false,"Version":5}]}`, r.get("a"), "no version comes twice")
}

func TestKVGetSeesWhatWasThereBefore(t *testing.T) {
	r := newRig(t)
	r.do(`"KVSet":[{"Key":"a","Value":1}]`)
	require.Equal(t, `{"kv":[{"Key":"a","Value":1,"Delete":false,"Version":1}]}`, r.do(`"KVSet":[{"Key":"a","Value":2}],"KVGet":["a"]`))
}

func TestValuesStayAsTheyCame(t *testing.T) {
	r := newRig(t)
	for i, value := range []string{`1.000`, `1e400`, `{"b":1,"a":{"b":[]}}`, `"<é\u00e9\/>"`, `null`, `""`, `123456789012345678901234567890`} {
		r.do(`"KVSet":[{"Key":"a","Value":` + value + `}]`)
		r.restart()
		want := fmt.Sprintf(`{"kv":[{"Key":"a","Value":%s,"Delete":false,"Version":%d}]}`, value, i+1)
		require.Equal(t, want, strings.ReplaceAll(strings.ReplaceAll(r.get("a"), `\u003c`, "<"), `\u003e`, ">"))
	}
}

func TestAWatchWaitsForAnotherVersion(t *testing.T) {
	r := newRig(t)
	watch := func(version int) string {
		return r.apply(machine.Query, 0, fmt.Sprintf(`{"Watch":{"Tenant":"t","ID":"a","Version":%d}}`, version))
	}
	require.Equal(t, "waits", watch(0))
	require.Equal(t, `{"Key":"a","Value":null,"Delete":false,"Version":0}`, watch(7))
	r.do(`"KVSet":[{"Key":"a","Value":1}]`)
	require.Equal(t, "waits", watch(1))
	require.Equal(t, `{"Key":"a","Value":1,"Delete":false,"Version":1}`, watch(0))
	require.Equal(t, `{"Key":"a","Value":1,"Delete":false,"Version":1}`, watch(3))
	r.do(`"KVSet":[{"Key":"a","Delete":true}]`)
	require.Equal(t, []string{"t\x00a"}, r.wakes)
	require.Equal(t, `{"Key":"a","Value":null,"Delete":false,"Version":0}`, watch(1))
}

func TestCounters(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct{ ops, want string }{
		{`{"Key":"n","Add":5}`, `{"k":"n","new":5,"f":false}`},
		{`{"Key":"n","Add":-5}`, `{"k":"n","old":5,"f":false}`},
		{`{"Key":"n","Set":7,"IfEq":0}`, `{"k":"n","new":7,"f":false}`},
		{`{"Key":"n","Set":8,"IfEq":0}`, `{"k":"n","old":7,"f":true}`},
		{`{"Key":"n","Add":1,"IfEq":6}`, `{"k":"n","old":7,"f":true}`},
		{`{"Key":"n","Add":1,"IfEq":7}`, `{"k":"n","old":7,"new":8,"f":false}`},
		{`{"Key":"n","Add":0}`, `{"k":"n","old":8,"new":8,"f":false}`},
		{`{"Key":"n","Set":0}`, `{"k":"n","old":8,"f":false}`},
		{`{"Key":"n","Add":2,"Set":0,"IfEq":null}`, `{"k":"n","new":2,"f":false}`}, // what Go's clients send
		{`{"Key":"n","Add":0,"Set":9,"IfEq":null}`, `{"k":"n","old":2,"new":9,"f":false}`},
		{`{"Key":"n","Add":1},{"Key":"n","Set":1,"IfEq":10},{"Key":"n","Set":3,"IfEq":10}`, // each sees what those before have done
			`{"k":"n","old":9,"new":10,"f":false},{"k":"n","old":10,"new":1,"f":false},{"k":"n","old":1,"f":true}`},
		{`{"Key":"m","Add":9223372036854775807}`, `{"k":"m","new":9223372036854775807,"f":false}`},
		{`{"Key":"m","Add":-9223372036854775808}`, `{"k":"m","old":9223372036854775807,"new":-1,"f":false}`},
	} {
		require.Equal(t, `{"atm":[`+step.want+`]}`, r.do(`"Atomic":[`+step.ops+`]`), step.ops)
		r.restart()
	}
}

// TestACounterThatIsZeroTakesNoRoom: so clients can make some.
func TestACounterThatIsZeroTakesNoRoom(t *testing.T) {
	r := newRig(t)
	empty := r.snapshot()
	for _, end := range []string{`{"Key":"n","Set":0}`, `{"Key":"n","Add":-2}`, `{"Key":"n","Add":-2},{"Key":"n","Add":1},{"Key":"n","Add":-1}`} {
		r.do(`"Atomic":[{"Key":"n","Add":2}]`)
		require.Positive(t, r.m.size)
		r.do(`"Atomic":[` + end + `]`)
		require.Zero(t, r.m.size)
		require.Equal(t, empty, r.snapshot())
	}
	r.do(`"Atomic":[{"Key":"n","Set":0},{"Key":"m","Add":0}]`)
	require.Equal(t, empty, r.snapshot())
}

// TestAConditionThatFailsStopsNothingElse: the model's rule.
func TestAConditionThatFailsStopsNothingElse(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"atm":[{"k":"n","f":true},{"k":"m","new":1,"f":false}]}`,
		r.do(`"Atomic":[{"Key":"n","Set":1,"IfEq":3},{"Key":"m","Add":1}],"KVSet":[{"Key":"k","Value":1}]`))
	require.Contains(t, r.get("k"), `"Version":1`)
}

func TestAnIdempotencyIDIsDoneOnce(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{}`, r.do(`"IdempotencyIDs":["x","y"],"KVSet":[{"Key":"k","Value":1}]`))
	r.restart()
	before := r.snapshot()
	require.Equal(t, isThere, r.do(`"IdempotencyIDs":["z","y"],"KVSet":[{"Key":"k","Value":2}]`))
	require.Equal(t, isThere, r.do(`"IdempotencyIDs":["x"],"LockID":"a","LockDur":9`))
	require.Equal(t, before, r.snapshot())
	require.Equal(t, `{}`, r.do(`"IdempotencyIDs":["z"]`), "it was refused, and not done")
	require.Equal(t, `{}`, r.apply(machine.Command, 0, `{"Do":{"Tenant":"u","IdempotencyIDs":["x"]}}`), "tenants have their own")
	r.pass(24 * time.Hour)
	require.Equal(t, isThere, r.do(`"IdempotencyIDs":["x"]`))
	r.pass(time.Minute)
	require.Equal(t, `{}`, r.do(`"IdempotencyIDs":["x"]`))
	require.Len(t, r.m.ids, 1)
}

// TestARequestThatComesAgainIsADuplicate, whatever has become of its locks by what it did itself.
func TestARequestThatComesAgainIsADuplicate(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":60`)
	unlocks := `"UnlockID":"a","Unlock":1,"IdempotencyIDs":["x"],"KVSet":[{"Key":"k","Value":1}]`
	require.Equal(t, `{}`, r.do(unlocks))
	require.Equal(t, isThere, r.do(unlocks))

	r.do(`"LockID":"b","LockDur":60`)
	waits := `"LockID":"b","LockDur":60,"LockWait":%d,"IdempotencyIDs":["y"]`
	require.Empty(t, r.do(fmt.Sprintf(waits, 9)))
	first := r.index
	require.Empty(t, r.do(fmt.Sprintf(waits, 10)))
	again := r.index
	require.Empty(t, r.do(fmt.Sprintf(waits, 11)))
	late := r.index
	r.do(`"UnlockID":"b","Unlock":2`)
	require.Equal(t, `{"l":3}`, r.answer(first))
	r.pass(10 * time.Second)
	require.Equal(t, isThere, r.answer(again), "when its time is over")
	r.now = r.now.Add(time.Second) // the unlock comes before the timer
	r.do(`"UnlockID":"b","Unlock":3`)
	require.Equal(t, isThere, r.answer(late))
}

func TestTheOldestIDsAreForgotten(t *testing.T) {
	r := newRig(t)
	r.m.limits.ids = 10
	for i := range 15 {
		require.Equal(t, `{}`, r.do(fmt.Sprintf(`"IdempotencyIDs":["%d"]`, i)))
		r.restart()
	}
	require.Equal(t, isThere, r.do(`"IdempotencyIDs":["5"]`))
	require.Equal(t, `{}`, r.do(`"IdempotencyIDs":["4"]`))
	require.Equal(t, 10, r.m.IDs.Len())
}

// TestManyIDsAreForgotten takes more than one timer.
func TestManyIDsAreForgotten(t *testing.T) {
	r := newRig(t)
	for i := range 2500 {
		r.do(fmt.Sprintf(`"IdempotencyIDs":["%d"]`, i))
	}
	r.pass(25 * time.Hour)
	require.Zero(t, r.m.IDs.Len())
	require.Zero(t, r.m.size)
}
