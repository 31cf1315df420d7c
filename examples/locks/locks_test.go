package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

const (
	notLocked = "not_locked (code 1002)"
	notHolder = "not_holder (code 1003)"
	isThere   = "duplicate_request (code 1001)"
	full      = "full (code 1004)"
)

func TestHandlesOnlyGrow(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"l":1}`, r.do(`"LockID":"a","LockDur":1`))
	require.Equal(t, `{"l":2}`, r.apply(machine.Command, 0, `{"Do":{"Tenant":"u","LockID":"a","LockDur":1}}`))
	r.pass(time.Second)
	r.restart()
	require.Equal(t, `{"l":3}`, r.do(`"LockID":"a","LockDur":1`))
}

func TestALockIsHeldByOne(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"l":1}`, r.do(`"LockID":"a","LockDur":30`))
	require.Equal(t, notLocked, r.do(`"LockID":"a","LockDur":30`))
	require.Equal(t, `{"l":2}`, r.do(`"LockID":"b","LockDur":30`))
	require.Equal(t, notHolder, r.do(`"UnlockID":"a","Unlock":2`))
	require.Equal(t, notHolder, r.do(`"UnlockID":"c","Unlock":1`))
	require.Equal(t, `{}`, r.do(`"UnlockID":"a","Unlock":1`))
	require.Equal(t, notHolder, r.do(`"UnlockID":"a","Unlock":1`))
	require.Equal(t, `{"l":3}`, r.do(`"LockID":"a","LockDur":30`))
}

func TestALockExpires(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"l":1}`, r.do(`"LockID":"a","LockDur":2`))
	r.pass(1999 * time.Millisecond)
	r.restart() // the rest of its time is kept
	require.Equal(t, notLocked, r.do(`"LockID":"a","LockDur":2`))
	r.pass(time.Millisecond)
	require.Equal(t, notHolder, r.do(`"UnlockID":"a","Unlock":1`))
	require.Equal(t, `{"l":2}`, r.do(`"LockID":"a","LockDur":2`))
}

func TestALockIsExtended(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":2`)
	r.pass(time.Second)
	require.Equal(t, notHolder, r.do(`"LockID":"a","LockDur":5,"UnlockID":"a","Unlock":7`))
	require.Equal(t, `{"l":1}`, r.do(`"LockID":"a","LockDur":5,"UnlockID":"a","Unlock":1`))
	r.restart()
	r.pass(4999 * time.Millisecond)
	require.Equal(t, `{}`, r.do(`"UnlockID":"a","Unlock":1`))
	require.Equal(t, notHolder, r.do(`"LockID":"a","LockDur":5,"UnlockID":"a","Unlock":1`), "it is not held any more")
}

func TestThoseInLineAreServedInOrder(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"l":1}`, r.do(`"LockID":"a","LockDur":5`))
	require.Empty(t, r.do(`"LockID":"a","LockDur":3,"LockWait":4`)) // gives up before it is its turn
	impatient := r.index
	require.Empty(t, r.do(`"LockID":"a","LockDur":3,"LockWait":20`))
	second := r.index
	require.Empty(t, r.do(`"LockID":"a","LockDur":3,"LockWait":20`))
	third := r.index
	r.pass(3999 * time.Millisecond)
	require.Empty(t, r.answer(impatient))
	r.restart()
	r.pass(time.Millisecond)
	require.Equal(t, notLocked, r.answer(impatient))
	r.pass(time.Second)
	require.Equal(t, `{"l":2}`, r.answer(second))
	require.Empty(t, r.answer(third))
	r.do(`"UnlockID":"a","Unlock":2`)
	require.Equal(t, `{"l":3}`, r.answer(third))
	r.pass(3 * time.Second)
	require.Equal(t, `{"l":4}`, r.do(`"LockID":"a","LockDur":3`))
}

// TestAWaitThatEndsWithTheLock: whoever gives up at the moment at which the lock is free does not get it.
func TestAWaitThatEndsWithTheLock(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":5`)
	r.do(`"LockID":"a","LockDur":5,"LockWait":5`)
	waits := r.index
	r.now = r.now.Add(5 * time.Second) // the unlock comes before the timer
	require.Equal(t, `{}`, r.do(`"UnlockID":"a","Unlock":1`))
	require.Equal(t, notLocked, r.answer(waits))
}

// TestARequestWaitsAsAWhole: nothing of it is done before it has its lock, and all of it then.
func TestARequestWaitsAsAWhole(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":5,"KVSet":[{"Key":"k","Value":"old"}]`)
	require.Empty(t, r.do(`"LockID":"a","LockDur":5,"LockWait":9,"IdempotencyIDs":["x"],"Atomic":[{"Key":"n","Add":2}],`+
		`"KVGet":["k"],"KVSet":[{"Key":"k","Value":"new"}]`))
	waits := r.index
	require.Equal(t, `{"kv":[{"Key":"k","Value":"old","Delete":false,"Version":1}]}`, r.get("k"))
	r.restart()
	require.Equal(t, `{}`, r.do(`"UnlockID":"a","Unlock":1,"KVSet":[{"Key":"k","Value":"mid"}]`))
	require.Equal(t, []string{"t\x00k", "t\x00k"}, r.wakes)
	require.Equal(t, `{"l":2,"kv":[{"Key":"k","Value":"mid","Delete":false,"Version":2}],"atm":[{"k":"n","new":2,"f":false}]}`, r.answer(waits))
	require.Equal(t, `{"kv":[{"Key":"k","Value":"new","Delete":false,"Version":3}]}`, r.get("k"))
	require.Equal(t, isThere, r.do(`"IdempotencyIDs":["x"]`))
}

// TestARequestThatFailsTakesNoLock: it is refused when its turn has come, and the next in line gets the lock.
func TestARequestThatFailsTakesNoLock(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":5`)
	require.Empty(t, r.do(`"LockID":"a","LockDur":5,"LockWait":9,"IdempotencyIDs":["x"],"KVSet":[{"Key":"k","Value":1}]`))
	fails := r.index
	require.Empty(t, r.do(`"LockID":"a","LockDur":5,"LockWait":9`))
	next := r.index
	require.Equal(t, `{}`, r.do(`"IdempotencyIDs":["x"]`)) // while it waits
	r.pass(5 * time.Second)
	require.Equal(t, isThere, r.answer(fails))
	require.Equal(t, `{"l":2}`, r.answer(next))
	require.Equal(t, `{"kv":[{"Key":"k","Value":null,"Delete":false,"Version":0}]}`, r.get("k"))
}

// TestHandOverHand locks one thing before it unlocks another one.
func TestHandOverHand(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":60`)
	r.do(`"LockID":"b","LockDur":5`)
	require.Equal(t, notHolder, r.do(`"LockID":"b","LockDur":9,"LockWait":9,"UnlockID":"a","Unlock":9`), "at once")
	require.Empty(t, r.do(`"LockID":"b","LockDur":9,"LockWait":9,"UnlockID":"a","Unlock":1`))
	moves := r.index
	require.Empty(t, r.do(`"LockID":"a","LockDur":9,"LockWait":9`))
	waits := r.index
	r.pass(5 * time.Second)
	require.Equal(t, `{"l":3}`, r.answer(moves))
	require.Equal(t, `{"l":4}`, r.answer(waits))
}

// TestHandOverHandTooLate: the lock to be given back is lost while the request waits, so all of it fails.
func TestHandOverHandTooLate(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":2`)
	r.do(`"LockID":"b","LockDur":5`)
	require.Empty(t, r.do(`"LockID":"b","LockDur":9,"LockWait":9,"UnlockID":"a","Unlock":1`))
	moves := r.index
	r.pass(5 * time.Second)
	require.Equal(t, notHolder, r.answer(moves))
	require.Equal(t, `{"l":3}`, r.do(`"LockID":"b","LockDur":9`))
}

// TestOneUnlockMayServeManyLines follows the locks that are freed by those who get one.
func TestOneUnlockMayServeManyLines(t *testing.T) {
	const n = 2000
	r := newRig(t)
	for i := range n {
		r.do(fmt.Sprintf(`"LockID":"%d","LockDur":600`, i))
	}
	first := r.index + 1
	for i := range n - 1 {
		require.Empty(t, r.do(fmt.Sprintf(`"LockID":"%d","LockDur":600,"LockWait":60,"UnlockID":"%d","Unlock":%d`, i, i+1, i+2)))
	}
	r.do(`"UnlockID":"0","Unlock":1`)
	for i := range uint64(n - 1) {
		require.Equal(t, fmt.Sprintf(`{"l":%d}`, n+1+i), r.answer(first+i))
	}
}

func TestASessionEndsWithItsLocksAndItsPlacesInLine(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"l":1}`, r.doIn(7, `"LockID":"a","LockDur":60`))
	require.Equal(t, `{"l":2}`, r.doIn(8, `"LockID":"b","LockDur":60`))
	require.Empty(t, r.doIn(7, `"LockID":"a","LockDur":60,"LockWait":60`)) // would get its own lock
	own := r.index
	require.Empty(t, r.doIn(7, `"LockID":"b","LockDur":60,"LockWait":60`))
	other := r.index
	require.Empty(t, r.doIn(9, `"LockID":"a","LockDur":60,"LockWait":60`))
	next := r.index
	r.restart()
	r.upkeep(func(ctx *machine.Context) { r.m.OnSessionEnd(ctx, 7) })
	require.Equal(t, []string{notLocked, notLocked, `{"l":3}`}, []string{r.answer(own), r.answer(other), r.answer(next)})
	require.Equal(t, notLocked, r.do(`"LockID":"b","LockDur":1`))
	require.Len(t, r.m.sessions, 2)
}

func TestWhoHasGoneLeavesTheLine(t *testing.T) {
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":60`)
	r.do(`"LockID":"a","LockDur":60,"LockWait":60`)
	gone := r.index
	r.do(`"LockID":"a","LockDur":60,"LockWait":60`)
	next := r.index
	r.upkeep(func(ctx *machine.Context) { r.m.OnAbandon(ctx, machine.Ticket{Index: gone}) })
	require.Empty(t, r.answer(next))
	r.do(`"UnlockID":"a","Unlock":1`)
	require.Equal(t, `{"l":2}`, r.answer(next))
}

// TestWhoHasGoneGivesTheLockOn: the handle of the lock never reached anybody.
func TestWhoHasGoneGivesTheLockOn(t *testing.T) {
	r := newRig(t)
	require.Equal(t, `{"l":1}`, r.do(`"LockID":"a","LockDur":60`))
	gone := machine.Ticket{Index: r.index}
	r.do(`"LockID":"a","LockDur":60,"LockWait":60`)
	next := r.index
	r.restart()
	r.upkeep(func(ctx *machine.Context) { r.m.OnAbandon(ctx, gone) })
	require.Equal(t, `{"l":2}`, r.answer(next))
	r.upkeep(func(ctx *machine.Context) { r.m.OnAbandon(ctx, gone) }) // again: it is over
	require.Equal(t, notLocked, r.do(`"LockID":"a","LockDur":60`))
}

func TestManyInOneLine(t *testing.T) {
	const n = 20_000
	r := newRig(t)
	r.do(`"LockID":"a","LockDur":600`)
	first := r.index + 1
	for range n {
		require.Empty(t, r.do(`"LockID":"a","LockDur":600,"LockWait":60`))
	}
	for i := range uint64(n / 2) { // every other one goes, from the middle of the line
		r.upkeep(func(ctx *machine.Context) { r.m.OnAbandon(ctx, machine.Ticket{Index: first + 2*i}) })
	}
	r.do(`"UnlockID":"a","Unlock":1`)
	require.Equal(t, `{"l":2}`, r.answer(first+1))
	r.pass(time.Minute)
	require.Equal(t, notLocked, r.answer(first+n-1))
	require.Empty(t, r.m.waiting)
	require.Empty(t, r.m.lines)
	require.Zero(t, r.m.Waiting.Len())
}

// TestTheLocksOfASessionAreGivenOnInOrder: in that of their handles, on all servers.
func TestTheLocksOfASessionAreGivenOnInOrder(t *testing.T) {
	const n = 20
	r := newRig(t)
	for i := range n {
		r.doIn(7, fmt.Sprintf(`"LockID":"%d","LockDur":60`, i))
	}
	first := r.index + 1
	for i := range n {
		require.Empty(t, r.do(fmt.Sprintf(`"LockID":"%d","LockDur":60,"LockWait":60`, i)))
	}
	r.upkeep(func(ctx *machine.Context) { r.m.OnSessionEnd(ctx, 7) })
	for i := range uint64(n) {
		require.Equal(t, fmt.Sprintf(`{"l":%d}`, n+1+i), r.answer(first+i))
	}
}
