package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// bad are requests that no state can do, and what the error says.
func bad() map[string]string {
	long := strings.Repeat("x", maxName+1)
	many := strings.Repeat(`"k",`, maxParts) + `"k"`
	return map[string]string{
		`{}`:                                         "nothing is asked for",
		`{"LockDur":1,"LockWait":1}`:                 "need a LockID",
		`{"LockID":""}`:                              "nothing is asked for",
		`{"LockID":"a"}`:                             "LockDur is 0",
		`{"LockID":"a","LockDur":-1}`:                "LockDur is -1",
		`{"LockID":"a","LockDur":604801}`:            "LockDur is 604801",
		`{"LockID":"a","LockDur":1e3}`:               "1e3",
		`{"LockID":"a","LockDur":0.5}`:               "0.5",
		`{"LockID":"a","LockDur":"1"}`:               "LockDur",
		`{"LockID":"a","LockDur":1,"LockWait":-1}`:   "LockWait is -1",
		`{"LockID":"a","LockDur":1,"LockWait":3601}`: "LockWait is 3601",
		`{"LockID":"a","LockDur":1,"LockWait":99999999999999999999}`:              "LockWait",
		`{"LockID":7,"LockDur":1}`:                                                "LockID",
		`{"LockID":"` + long + `","LockDur":1}`:                                   "longer than 1024 bytes",
		`{"LockID":"a","LockDur":1,"UnlockID":"a"}`:                               "needs an Unlock",
		`{"UnlockID":"a"}`:                                                        "needs an Unlock",
		`{"UnlockID":"a","Unlock":0}`:                                             "needs an Unlock",
		`{"UnlockID":"a","Unlock":-1}`:                                            "Unlock",
		`{"UnlockID":"a","Unlock":"1"}`:                                           "Unlock",
		`{"UnlockID":"` + long + `","Unlock":1}`:                                  "longer than 1024 bytes",
		`{"Unlock":1}`:                                                            "needs an UnlockID",
		`{"IdempotencyIDs":[""]}`:                                                 "IdempotencyIDs[0]",
		`{"IdempotencyIDs":["x","x"]}`:                                            "there twice",
		`{"IdempotencyIDs":"x"}`:                                                  "IdempotencyIDs",
		`{"IdempotencyIDs":["` + long + `"]}`:                                     "1025 bytes",
		`{"Atomic":[{"Add":1}]}`:                                                  "Atomic[0]: the name has 0 bytes",
		`{"Atomic":[{"Key":"n"}]}`:                                                "want Add or Set",
		`{"Atomic":[{"Key":"n","Add":0,"Set":0}]}`:                                "want Add or Set",
		`{"Atomic":[{"Key":"n","Add":1,"Set":1}]}`:                                "not both",
		`{"Atomic":[{"Key":"n","Add":1.5}]}`:                                      "1.5",
		`{"Atomic":[{"Key":"n","Add":9223372036854775808}]}`:                      "9223372036854775808",
		`{"Atomic":[{"Key":"max","Add":1}]}`:                                      "more than 64 bits hold",
		`{"Atomic":[{"Key":"max","Set":1},{"Key":"min","Add":-1}]}`:               "more than 64 bits hold",
		`{"Atomic":{"Key":"n","Add":1}}`:                                          "Atomic",
		`{"KVSet":[{"Key":"k"}]}`:                                                 "want a Value or a Delete",
		`{"KVSet":[{"Value":1}]}`:                                                 "KVSet[0]: the name has 0 bytes",
		`{"KVSet":[{"Key":"k","Value":1},{"Key":"k","Value":1,"Expires":1}]}`:     "Expires",
		`{"KVSet":[{"Key":"k","Value":"` + strings.Repeat("v", maxValue) + `"}]}`: "longer than 1048576 bytes",
		`{"KVSet":[{"Key":"` + long + `","Value":1}]}`:                            "1025 bytes",
		`{"KVGet":[""]}`:                                                          "KVGet[0]",
		`{"KVGet":[1]}`:                                                           "KVGet",
		`{"KVGet":[` + many + `]}`:                                                "1025 parts",
		`{"Lock":"a"}`:                                                            "Lock",
		`{"lockid":"a","LockDur":1}`:                                              "lockid",
		`{"LockID":"a","LockID":"b","LockDur":1}`:                                 "LockID",
		`null`: "null",
		`[]`:   "array",
		`"Do"`: "string",
		`7`:    "number",
	}
}

func TestBadInputIsToldSoAndChangesNothing(t *testing.T) {
	r := newRig(t)
	r.do(`"Atomic":[{"Key":"max","Set":9223372036854775807},{"Key":"min","Set":-9223372036854775808}],"LockID":"b","LockDur":9`)
	before := r.snapshot()
	refused := func(input, says string) {
		t.Helper()
		for _, kind := range []machine.Kind{machine.Command, machine.Query} {
			got := r.apply(kind, 0, input)
			require.NotContains(t, got, "{", "%.200s", input)
			if kind == machine.Command {
				require.Contains(t, got, says, "%.200s", input)
			}
		}
		require.Equal(t, before, r.snapshot())
		require.Empty(t, r.m.freed)
		require.Len(t, r.m.due, 1)
	}
	for body, says := range bad() {
		if members, ok := strings.CutPrefix(body, "{"); ok {
			if members != "}" {
				members = "," + members
			}
			body = `{"Tenant":"t"` + members
		}
		refused(`{"Do":`+body+`}`, says)
	}
	for _, tenant := range []string{`""`, `"a\u0000b"`, `"` + strings.Repeat("x", maxTenant+1) + `"`, `7`} {
		refused(`{"Do":{"Tenant":`+tenant+`,"IdempotencyIDs":["x"]}}`, "Tenant")
	}
	refused(`{"Do":{"IdempotencyIDs":["x"]}}`, "Tenant")
	refused(`"Do"`, "a value is missing")
	refused(`{"Done":{}}`, "unknown operation")
	refused(`{"Get":{"Tenant":"t"}}`, "nothing is asked for")
	refused(`{"Get":{"Tenant":"t","KVGet":["k"],"KVSet":[{"Key":"k","Value":1}]}}`, "nothing else")
	refused(`{"Watch":{"Tenant":"t"}}`, "ID has 0 bytes")
	refused(`{"Watch":{"Tenant":"t","ID":"k","Version":-1}}`, "Version")
	refused(`{"Watch":{"ID":"k"}}`, "Tenant")
	require.Contains(t, r.apply(machine.Query, 0, `{"Do":{"Tenant":"t","KVGet":["k"]}}`), "must be a Command")
	require.Contains(t, r.apply(machine.Command, 0, `{"Watch":{"Tenant":"t","ID":"k"}}`), "not a Command")
	require.Equal(t, before, r.snapshot())
}

func TestAFullStateTakesNothingMore(t *testing.T) {
	r := newRig(t)
	r.m.limits.size = 6000
	big := strings.Repeat("v", 1000)
	n := 0
	for ; r.do(fmt.Sprintf(`"KVSet":[{"Key":"%d","Value":"%s"}]`, n, big)) == `{}`; n++ {
		require.Less(t, n, 10)
	}
	require.Equal(t, 5, n)
	before := r.snapshot()
	for _, more := range []string{
		`"KVSet":[{"Key":"9","Value":"` + big + `"}]`, `"KVSet":[{"Key":"0","Value":"` + big + big + `"}]`,
		`"LockID":"a","LockDur":1,"KVSet":[{"Key":"9","Value":"` + big + `"}]`,
	} {
		require.Equal(t, full, r.do(more))
		require.Equal(t, before, r.snapshot())
	}
	require.Equal(t, `{}`, r.do(`"KVSet":[{"Key":"0","Value":"`+big+`"}]`), "it grows by nothing")
	require.Equal(t, `{}`, r.do(`"KVSet":[{"Key":"0","Delete":true}]`))
	require.Equal(t, `{}`, r.do(`"KVSet":[{"Key":"9","Value":"`+big+`"}]`))
	r.restart()
}

func TestLinesAreBounded(t *testing.T) {
	r := newRig(t)
	r.m.limits.waiters = 2
	r.do(`"LockID":"a","LockDur":1`)
	require.Empty(t, r.do(`"LockID":"a","LockDur":1,"LockWait":9`))
	require.Empty(t, r.do(`"LockID":"a","LockDur":1,"LockWait":9`))
	require.Equal(t, full, r.do(`"LockID":"a","LockDur":1,"LockWait":9`))
}

func TestAnswersAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range 9 {
		r.do(fmt.Sprintf(`"KVSet":[{"Key":"%d","Value":"%s"}]`, i, strings.Repeat("v", maxValue-2)))
	}
	require.Contains(t, r.apply(machine.Query, 0, `{"Get":{"Tenant":"t","KVGet":["0","1","2","3","4","5","6","7","8"]}}`), "more than 8388608 bytes together")
}
