package loop

import (
	"time"

	"github.com/raftpico/go/jsonrpc"
)

// ending is how a server leaves, so that a rolling restart loses nothing. First it hands leadership over, and serves on: what
// comes meanwhile waits for the next leader, and is passed on to it. When that is known, it takes nothing new, and tells
// everybody whom to ask; when it has answered what it has taken, it ends. Owner: the turn.
type ending struct {
	by     time.Time      // it waits for nothing any more; zero: it is not asked to end
	handBy time.Time      // nor for the next leader
	led    bool           // it has led since
	whom   *jsonrpc.Error // what clients are told when the loop has ended. Written before that
}

// due is when the waiting is over, as the core counts.
func (e *ending) due(began time.Time) time.Duration {
	switch {
	case e.by.IsZero():
		return never
	case time.Now().Before(e.handBy):
		return e.handBy.Sub(began)
	}
	return e.by.Sub(began)
}

// Drain lets the loop end: it hands leadership over if it can, and waits for what is under way, but not longer than this.
func (l *Loop) Drain(patience time.Duration) {
	l.inbox.post(func() {
		if e := &l.ending; e.by.IsZero() {
			now := time.Now()
			e.by, e.handBy = now.Add(patience), now.Add(patience/2)
		}
	})
}

// stopped takes a step of the ending, and tells whether it was the last. It follows each Flush.
func (l *Loop) stopped() bool {
	e := &l.ending
	if e.by.IsZero() {
		return false
	}
	now := time.Now()
	if now.Before(e.handBy) {
		handing := l.node.HandOver()
		e.led = e.led || handing
		if handing || e.led && !l.node.Led() {
			return false
		}
	}
	l.node.Drain()
	if l.node.Pending() > 0 && now.Before(e.by) {
		return false
	}
	l.node.Stop("the server is stopping")
	return true
}

// Stopped is what clients are told when the loop has ended: whom to ask instead, where that is known.
func (l *Loop) Stopped() *jsonrpc.Error {
	if l.over() {
		return l.ending.whom
	}
	return errStopped
}
