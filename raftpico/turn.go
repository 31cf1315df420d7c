package raftpico

import (
	"math"
	"sync"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// turns are the event loop's: whoever holds mu does one, and touches what the loop owns. Most often that is the loop's
// goroutine, which wakes up for what comes and when time is up. But the reader of a connection that has brought a little, and
// finds nobody at it, does the turn itself, rather than wake up another goroutine: of the time that a command takes where few
// are under way, most is wake-ups.
type turns struct {
	mu       sync.Mutex
	timer    *time.Timer   // wakes the goroutine
	at       time.Duration // when it does, as the core counts
	items    []func()      // memory
	requests []request     // clients' that have had no time yet
	over     bool          // there are no more turns; changed in a turn only, with between.mu held as well
	err      error         // why, unless the server was closed
	took     slowness
}

// turnTime bounds what a turn spends on clients' requests, before it looks at the other servers again.
const turnTime = 10 * time.Millisecond

// maxByReader bounds what a reader does the turn for, in bytes: with more, it is better to decode what comes next meanwhile.
const maxByReader = 4 << 10

const never = time.Duration(math.MaxInt64)

// slowTurn is what a reader does no turns after, for a while.
const slowTurn = 100 * time.Millisecond

// run is the life of the loop's goroutine. The error is why the server failed, or nil if it was closed.
func (l *loop) run() error {
	t := &l.turns
	defer t.timer.Stop()
	for {
		select {
		case <-l.server.inbox.wake:
		case <-t.timer.C:
		}
		t.mu.Lock()
		l.takeTurn()
		over, err := t.over, t.err
		t.at = never
		l.sleep()
		t.mu.Unlock()
		if over {
			return err
		}
	}
}

// offerTurn does a turn for what has been left in the inbox, unless one is under way: then the goroutine does it afterwards. A
// reader that is at it answers no pings. So where turns have taken long of late, it leaves them to the goroutine.
func (l *loop) offerTurn() {
	if !l.turns.mu.TryLock() {
		l.server.inbox.ring()
		return
	}
	defer l.turns.mu.Unlock()
	switch {
	case l.turns.took.slowest() > slowTurn:
		l.server.inbox.ring()
	case l.server.inbox.some(): // or else somebody has taken it meanwhile
		l.takeTurn()
		l.sleep()
	}
}

// takeTurn takes in all that has come, and does what the time asks for. The caller holds turns.mu.
func (l *loop) takeTurn() {
	t := &l.turns
	if t.over {
		return
	}
	began := time.Now()
	l.between.lock()
	defer l.between.mu.Unlock()
	now := time.Now() // a query may have taken long
	l.node.SetTime(now.Sub(l.began), now)
	t.items, t.requests = l.server.inbox.take(t.items, t.requests)
	for i, item := range t.items {
		item()
		t.items[i] = nil
	}
	t.requests = t.requests[:copy(t.requests, t.requests[l.carryOut(t.requests, turnTime):])]
	l.node.Tick()
	l.flush() // what needed no disk does not wait for it
	err := l.node.Flush()
	l.Sent()
	l.settleReceptions()
	if err != nil {
		l.node.Stop("the server has failed")
	}
	if err != nil || l.stopped() {
		l.carryOut(t.requests, time.Hour) // the core refuses them by now, but answers them
		l.flush()
		t.over, t.err = true, err
		return
	}
	l.flush()
	t.took.note(began, time.Now())
	l.tellSizes()
}

// sleep has the goroutine wake up by when the next turn is due. It may do so earlier, for nothing. The caller holds turns.mu.
func (l *loop) sleep() {
	at := l.nextTurn()
	if at >= l.turns.at {
		return
	}
	l.turns.at = at
	l.turns.timer.Reset(max(at-time.Since(l.began), 0))
}

// nextTurn is when a turn is due if nothing comes, as the core counts.
func (l *loop) nextTurn() time.Duration {
	if l.turns.over || len(l.turns.requests) > 0 {
		return 0
	}
	at, ok := l.node.Wake()
	if !ok {
		at = never
	}
	if !l.stopBy.IsZero() {
		at = min(at, l.stopBy.Sub(l.began))
	}
	return at
}

// carryOut hands clients' requests to the core while there is time, and returns how many.
func (l *loop) carryOut(requests []request, limit time.Duration) int {
	began := time.Now()
	for i := range requests {
		r := &requests[i]
		if r.call != nil && r.request.Op == node.Apply && r.request.Kind != machine.Command && r.call.Conn().Gone() {
			r.call.Fail(ErrRejected) // its client has gone, or reads no answers: nobody waits for a query
			continue
		}
		l.node.Request(r.caller, &r.request)
		if i%4 == 3 && time.Since(began) > limit {
			clear(requests[:i+1])
			return i + 1
		}
	}
	clear(requests)
	return len(requests)
}

// stopped tells whether a server that is to stop has nothing more to wait for.
func (l *loop) stopped() bool {
	if l.stopBy.IsZero() {
		return false
	}
	if handing := l.node.HandOver(); (handing || l.node.Pending() > 0) && time.Now().Before(l.stopBy) {
		return false
	}
	l.node.Stop("the server is stopping")
	return true
}
