package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// What is asked and answered, and what of it can be refused without a look at the state.

// request is what one client wants done, all of it or nothing. Each part may be left out. Names and order are those of
// the HTTP wire.
type request struct {
	Tenant string `json:",omitzero"` // over HTTP it is in the path

	LockID   string `json:",omitzero"`
	LockDur  int64  `json:",omitzero"` // seconds: how long the lock is held, if nobody unlocks or extends it
	LockWait int64  `json:",omitzero"` // seconds: how long the request may stay in line; 0: not at all

	UnlockID string `json:",omitzero"` // the same as LockID: the lock is extended
	Unlock   uint64 `json:",omitzero"` // the handle

	IdempotencyIDs []string    `json:",omitzero"`
	Atomic         []counterOp `json:",omitzero"`
	KVSet          []setOp     `json:",omitzero"`
	KVGet          []string    `json:",omitzero"`
}

// counterOp changes a counter. A client may name the operation that it does not want with a 0.
type counterOp struct {
	Key  string
	Add  *int64 `json:",omitzero"`
	Set  *int64 `json:",omitzero"`
	IfEq *int64 `json:",omitzero"` // change it only if this is its value
}

// setOp sets or deletes a value.
type setOp struct {
	Key     string
	Value   json.RawMessage `json:",omitzero"` // any JSON, kept as it came
	Delete  bool            `json:",omitzero"`
	Version int64           `json:",omitzero"` // means nothing: a client may send back what it got
}

// response has the keys of the HTTP wire.
type response struct {
	Lock   uint64          `json:"l,omitempty"` // the handle of the lock
	KV     []keyValue      `json:"kv,omitempty"`
	Atomic []counterResult `json:"atm,omitempty"`
}

// keyValue is a value as it is: version 0 and null if the key is missing.
type keyValue struct {
	Key     string
	Value   json.RawMessage
	Delete  bool // never
	Version uint64
}

type counterResult struct {
	Key    string `json:"k,omitempty"`
	Old    int64  `json:"old,omitempty"`
	New    int64  `json:"new,omitempty"`
	Failed bool   `json:"f"` // it was not IfEq, and did not change
}

// watchRequest asks for a value of another version.
type watchRequest struct {
	Tenant  string `json:",omitzero"`
	ID      string
	Version uint64
}

// The machine's own errors. Their messages are the codes of the HTTP wire.
var (
	errDuplicate = &machine.Error{Code: 1001, Message: "duplicate_request"} // nothing is done: an idempotency id was there before
	errNotLocked = &machine.Error{Code: 1002, Message: "not_locked"}        // nothing is done: another holds the lock
	errNotHolder = &machine.Error{Code: 1003, Message: "not_holder"}        // nothing is done: the handle does not hold the lock to be unlocked or extended
	errFull      = &machine.Error{Code: 1004, Message: "full"}              // nothing is done: no room
)

const (
	maxTenant = 255       // bytes of a tenant's name
	maxName   = 1024      // bytes of all other names
	maxValue  = 1 << 20   // bytes of a value
	maxAnswer = 8 << 20   // bytes of the values that one request gets
	maxParts  = 1024      // ids, counters, sets and gets of one request
	maxDur    = 7 * 86400 // seconds
	maxWait   = 3600      // seconds
)

// check refuses what could be done in no state.
func (r *request) check() error {
	if err := checkTenant(r.Tenant); err != nil {
		return err
	}
	if err := r.checkLocks(); err != nil {
		return err
	}
	parts := len(r.IdempotencyIDs) + len(r.Atomic) + len(r.KVSet) + len(r.KVGet)
	switch {
	case parts == 0 && r.LockID == "" && r.UnlockID == "":
		return errors.New("nothing is asked for: want a LockID, UnlockID, IdempotencyIDs, Atomic, KVSet or KVGet")
	case parts > maxParts:
		return fmt.Errorf("%d parts in one request: more than %d", parts, maxParts)
	}
	seen := make(map[string]bool, len(r.IdempotencyIDs))
	for i, id := range r.IdempotencyIDs {
		if err := checkName("IdempotencyIDs", i, id); err != nil {
			return err
		}
		if seen[id] {
			return fmt.Errorf("IdempotencyIDs[%d] is there twice", i)
		}
		seen[id] = true
	}
	for i := range r.Atomic {
		if err := checkName("Atomic", i, r.Atomic[i].Key); err != nil {
			return err
		}
		if _, _, err := r.Atomic[i].operation(); err != nil {
			return fmt.Errorf("in Atomic[%d]: %w", i, err)
		}
	}
	for i := range r.KVSet {
		op := &r.KVSet[i]
		if err := checkName("KVSet", i, op.Key); err != nil {
			return err
		}
		switch {
		case op.Value == nil && !op.Delete:
			return fmt.Errorf("KVSet[%d]: want a Value or a Delete", i)
		case len(op.Value) > maxValue:
			return fmt.Errorf("KVSet[%d]: the Value is longer than %d bytes", i, maxValue)
		}
	}
	for i, key := range r.KVGet {
		if err := checkName("KVGet", i, key); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) checkLocks() error {
	switch {
	case len(r.LockID) > maxName || len(r.UnlockID) > maxName:
		return fmt.Errorf("the name of a lock is longer than %d bytes", maxName)
	case r.LockID == "" && (r.LockDur != 0 || r.LockWait != 0):
		return errors.New("LockDur and LockWait need a LockID")
	case r.LockID != "" && (r.LockDur < 1 || r.LockDur > maxDur):
		return fmt.Errorf("LockDur is %d: want 1 to %d seconds", r.LockDur, maxDur)
	case r.LockWait < 0 || r.LockWait > maxWait:
		return fmt.Errorf("LockWait is %d: want 0 to %d seconds", r.LockWait, maxWait)
	case r.UnlockID == "" && r.Unlock != 0:
		return errors.New("an Unlock needs an UnlockID")
	case r.UnlockID != "" && r.Unlock == 0:
		return errors.New("UnlockID needs an Unlock: the handle that the lock was given with")
	}
	return nil
}

// operation tells what becomes of a counter: delta is added, or it is set.
func (op *counterOp) operation() (value int64, set bool, err error) {
	given := func(p *int64) bool { return p != nil && *p != 0 }
	switch {
	case given(op.Add) && given(op.Set):
		return 0, false, errors.New("want Add or Set, not both")
	case given(op.Add), op.Add != nil && op.Set == nil:
		return *op.Add, false, nil
	case given(op.Set), op.Set != nil && op.Add == nil:
		return *op.Set, true, nil
	}
	return 0, false, errors.New("want Add or Set")
}

// getsOnly tells that a request changes nothing.
func (r *request) getsOnly() bool {
	return len(r.KVGet) > 0 && r.LockID == "" && r.UnlockID == "" && len(r.IdempotencyIDs)+len(r.Atomic)+len(r.KVSet) == 0
}

// patience is how long a request may stay in line.
func (r *request) patience() time.Duration { return time.Duration(r.LockWait) * time.Second }

func (w *watchRequest) check() error {
	if err := checkTenant(w.Tenant); err != nil {
		return err
	}
	if w.ID == "" || len(w.ID) > maxName {
		return fmt.Errorf("ID has %d bytes: want 1 to %d", len(w.ID), maxName)
	}
	return nil
}

// checkTenant: a name is put behind a tenant's by a 0 byte; see in.
func checkTenant(tenant string) error {
	if tenant == "" || len(tenant) > maxTenant || strings.IndexByte(tenant, 0) >= 0 {
		return fmt.Errorf("the Tenant has %d bytes: want 1 to %d, and none of them 0", len(tenant), maxTenant)
	}
	return nil
}

func checkName(part string, i int, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%s[%d]: the name has %d bytes: want 1 to %d", part, i, len(name), maxName)
	}
	return nil
}
