package memfs

import (
	"errors"
	"syscall"
)

// ErrPowerOff is the answer to every call between PowerOff's moment and Crash.
var ErrPowerOff = errors.New("memfs: the power is off")

// ErrNoSpace is the answer of a full disk.
var ErrNoSpace error = syscall.ENOSPC

// Op is a kind of call that can fail.
type Op int

// The kinds of calls. Close never fails.
const (
	Open Op = iota
	Read
	Write
	Truncate
	Sync
	Lock
	Rename
	Remove
	SyncDir
	ops
)

// faults are what was ordered. The owner is FS, with its lock.
type faults struct {
	fail  [ops]fault
	space int64 // bytes left, -1: enough
	power int   // changes until the power goes off, -1: never
	count int   // changes so far
}

type fault struct {
	after int // calls until then, 0: none ordered
	err   error
}

// Fail makes the n-th call of a kind from now fail, counted from 1.
func (f *FS) Fail(op Op, n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[op] = fault{n, err}
}

// Space leaves room for n more bytes; -1 for any number.
func (f *FS) Space(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space = n
}

// PowerOff lets n more changes come through and turns the power off in the next: that one is made as far as one can
// be without a sync, and lost or not by Crash. Changes are all calls but Read, Lock and Open.
func (f *FS) PowerOff(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.power = n
}

// Off tells whether the power is off.
func (f *FS) Off() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.power == off
}

// Changes counts the changes so far, for PowerOff. Crash sets it to zero.
func (f *FS) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// check is called before every call.
func (f *FS) check(op Op) error {
	if f.power == off {
		return ErrPowerOff
	}
	if o := &f.fail[op]; o.after > 0 {
		if o.after--; o.after == 0 {
			return o.err
		}
	}
	return nil
}

const off = -2

// cut is called in every change, after it took place and before a sync does.
func (f *FS) cut() error {
	f.count++
	switch {
	case f.power > 0:
		f.power--
	case f.power == 0:
		f.power = off
		return ErrPowerOff
	}
	return nil
}
