// Package ids is the machine of the ids service, and what it and its client say to each other:
//
//	{"NextID":["orders",10]}  → {"from":1,"to":11}                   Command only
//	{"CurID":"orders"}        → 11
//	{"Ulids":3}               → {"first":"01KB…0","last":"01KB…2"}   Command only
package ids

import (
	"encoding/binary"
	"math/bits"

	"github.com/oklog/ulid/v2"
)

// The tags of the operations.
const (
	TagNextID = "NextID"
	TagCurID  = "CurID"
	TagULIDs  = "Ulids"
)

// Bounds of what a request may ask for.
const (
	MaxBlock = 1 << 20 // ids: no client uses a sequence up, since it has 2⁴⁴ blocks
	MaxName  = 128     // bytes; a name has at least one
)

// Codes of errors that last: nobody will ever get what was asked for.
const (
	CodeUsedUp       = 1001 // fewer ids are left than were asked for
	CodeTooManyNames = 1002 // the service keeps no more sequences
)

// Range is a block of a sequence: From ≤ id < To.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Block is the ULIDs from First to Last, as numbers of 128 bits: each is its predecessor plus 1.
type Block struct {
	First ulid.ULID `json:"first"`
	Last  ulid.ULID `json:"last"`
}

// Add adds n to a ULID, as a number of 128 bits. What the random part can't hold is carried to the milliseconds. It is not
// ok if these can't hold it either.
func Add(id ulid.ULID, n uint64) (sum ulid.ULID, ok bool) {
	low, carry := bits.Add64(binary.BigEndian.Uint64(id[8:]), n, 0)
	high, carry := bits.Add64(binary.BigEndian.Uint64(id[:8]), 0, carry)
	binary.BigEndian.PutUint64(sum[:8], high)
	binary.BigEndian.PutUint64(sum[8:], low)
	return sum, carry == 0
}
