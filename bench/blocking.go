package main

import "sync/atomic"

// Blocker is a Client whose users wait for each operation, in goroutines of their own: a caller is a goroutine that calls Do again
// and again. Loads that keep operations under way use it so.
type Blocker interface {
	Client
	Do(op Op) error
}

// blocking is a Blocker made of a function that carries out one operation. Go is for operations that begin by themselves: as many
// goroutines carry these out as are under way, and stay until Close.
type blocking struct {
	do       func(Op) error
	end      func() error // may be nil
	queue    chan begun
	underway atomic.Int64
	workers  atomic.Int64
}

type begun struct {
	op   Op
	done func(error)
}

func newBlocking(do func(Op) error, end func() error) *blocking {
	return &blocking{do: do, end: end, queue: make(chan begun, 1<<16)}
}

// Do implements Blocker.
func (b *blocking) Do(op Op) error { return b.do(op) }

// Go implements Client.
func (b *blocking) Go(op Op, done func(error)) {
	if n := b.underway.Add(1); n > b.workers.Load() {
		b.workers.Add(1)
		go b.work()
	}
	b.queue <- begun{op, done}
}

func (b *blocking) work() {
	for o := range b.queue {
		err := b.do(o.op)
		b.underway.Add(-1)
		o.done(err)
	}
}

// Flush implements Client.
func (b *blocking) Flush() error { return nil }

// Close implements Client. Nothing may be under way.
func (b *blocking) Close() error {
	close(b.queue)
	if b.end == nil {
		return nil
	}
	return b.end()
}
