package main

import (
	"context"
	"runtime"
	"sync"
)

func init() {
	register(&System{
		Name: "raftpico-waiting", About: "this project, asked as raftpico is, but by callers that wait, each in a goroutine: what a blocking client could reach at best",
		Kinds:   []Kind{Put, Get, LocalGet},
		Prepare: buildKVS, Node: runKVS, Form: formKVS, Leader: leaderOfKVS, Syncs: syncsOfKVS,
		Dial: func(ctx context.Context, addr string) (Client, error) {
			c, err := dialLines(ctx, addr, encodeKVS)
			if err != nil {
				return nil, err
			}
			return newWaiting(c.(*lines)), nil
		},
	})
}

// waiting is the least that a blocking client has to do over lines: a caller puts its line behind the others', and sleeps until
// the reader wakes it. A goroutine writes all lines that have come together.
type waiting struct {
	*lines
	wake  chan struct{}
	ended chan struct{}
}

func newWaiting(l *lines) *waiting {
	w := &waiting{lines: l, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.write()
	return w
}

// waiter is who waits for an operation.
type waiter struct {
	answered chan error
	done     func(error) // made once
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{answered: make(chan error, 1)}
	w.done = func(err error) { w.answered <- err }
	return w
}}

// Do implements Blocker.
func (w *waiting) Do(op Op) error {
	caller := waiters.Get().(*waiter)
	defer waiters.Put(caller)
	w.Go(op, caller.done)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return <-caller.answered
}

// write is a goroutine that ends with Close.
func (w *waiting) write() {
	for {
		select {
		case <-w.wake:
		case <-w.ended:
			return
		}
		runtime.Gosched() // whoever was answered together asks again together
		if err := w.Flush(); err != nil {
			w.fail(err)
			return
		}
	}
}

// Close implements Client.
func (w *waiting) Close() error {
	close(w.ended)
	return w.lines.Close()
}
