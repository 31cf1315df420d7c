package loop

import "time"

// alarm wakes the loop's goroutine when time is up. Owner: the turn.
type alarm interface {
	// Wake is received from when time is up; sometimes once more, for an earlier time.
	Wake() <-chan struct{}
	// Set sets the time, from now, in place of the one before.
	Set(d time.Duration)
	// Stop ends it. What is set afterwards wakes nobody who need wake up.
	Stop()
}

// goAlarm is one by Go's timers.
type goAlarm struct {
	wake  chan struct{} // capacity 1
	timer *time.Timer
}

func newGoAlarm() *goAlarm {
	a := &goAlarm{wake: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(never, func() { ring(a.wake) })
	return a
}

func (a *goAlarm) Wake() <-chan struct{} { return a.wake }
func (a *goAlarm) Set(d time.Duration)   { a.timer.Reset(d) }
func (a *goAlarm) Stop()                 { a.timer.Stop() }

// ring wakes who receives from wake, whose capacity is 1. It never blocks.
func ring(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // an earlier one was not yet seen
	}
}
