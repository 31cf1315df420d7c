package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine/machinetest"
)

var config = machinetest.Config{
	New: newService,
	Inputs: []any{
		raw(`{"Do":{"Tenant":"t","LockID":"a","LockDur":1}}`),
		raw(`{"Do":{"Tenant":"t","LockID":"a","LockDur":1,"LockWait":1,"IdempotencyIDs":["x"],"KVSet":[{"Key":"k","Value":1}]}}`),
		raw(`{"Do":{"Tenant":"t","LockID":"a","LockDur":2,"LockWait":3,"UnlockID":"b","Unlock":1}}`),
		raw(`{"Do":{"Tenant":"t","LockID":"b","LockDur":1,"LockWait":1}}`),
		raw(`{"Do":{"Tenant":"t","LockID":"a","LockDur":2,"UnlockID":"a","Unlock":1}}`),
		raw(`{"Do":{"Tenant":"t","UnlockID":"a","Unlock":2,"KVSet":[{"Key":"k","Delete":true}],"KVGet":["k"]}}`),
		raw(`{"Do":{"Tenant":"t","Atomic":[{"Key":"n","Add":1},{"Key":"n","Set":4,"IfEq":1}],"KVSet":[{"Key":"k","Value":"v"}]}}`),
		raw(`{"Do":{"Tenant":"u","IdempotencyIDs":["x","y"],"KVGet":["k"]}}`),
		raw(`{"Get":{"Tenant":"t","KVGet":["k","l"]}}`),
		raw(`{"Watch":{"Tenant":"t","ID":"k","Version":0}}`),
	},
	Draw: draw,
}

func raw(text string) json.RawMessage { return json.RawMessage(text) }

// draw makes requests of a few names, most of which can be done: so that lines form, and handles are right by chance.
func draw(r *rand.Rand) any {
	name := func() string { return string(rune('a' + r.IntN(3))) }
	q := request{Tenant: string(rune('t' + r.IntN(2)))}
	if r.IntN(2) == 0 {
		q.LockID, q.LockDur, q.LockWait = name(), 1+r.Int64N(3), r.Int64N(4)
	}
	if r.IntN(3) == 0 {
		q.UnlockID, q.Unlock = name(), 1+r.Uint64N(6)
	}
	if r.IntN(3) == 0 {
		q.IdempotencyIDs = []string{fmt.Sprint(r.IntN(20))}
	}
	if r.IntN(3) == 0 {
		n := r.Int64N(5) - 2
		q.Atomic = []counterOp{{Key: name(), Add: &n}, {Key: name(), Set: &n, IfEq: &n}}
	}
	if r.IntN(3) == 0 {
		q.KVSet = []setOp{{Key: name(), Value: raw("1"), Delete: r.IntN(2) == 0}}
	}
	if r.IntN(2) == 0 {
		q.KVGet = []string{name()}
	}
	return map[string]request{"Do": q}
}

func TestMachine(t *testing.T) { machinetest.Run(t, config) }

func FuzzMachine(f *testing.F) { machinetest.Fuzz(f, config) }
