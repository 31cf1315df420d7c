package loop

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/raftpico/go/jsonrpc"
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
	requests []Request     // clients' that have had no time yet
	handed   int           // of these the core has been given
	reader   *jsonrpc.Conn // whose reader does the turn, nil: the goroutine does
	over     bool          // there are no more turns; changed in a turn only, with the machine held as well
	err      error         // why, unless the server was closed
}

// turnTime bounds what a turn spends on clients' requests, before it looks at the other servers again.
const turnTime = 10 * time.Millisecond

// MaxByReader bounds what a reader does the turn for, in bytes: with more, it is better to decode what comes next meanwhile.
const MaxByReader = 4 << 10

const never = time.Duration(math.MaxInt64)

// slowTurn is what a reader does no turns after, for a while.
const slowTurn = 100 * time.Millisecond

func newTurns() turns { return turns{timer: time.NewTimer(0)} }

// takeTurns does turns until the server has failed, which is the error, or was closed.
func (l *Loop) takeTurns() error {
	t := &l.turns
	defer t.timer.Stop()
	for {
		select {
		case <-l.inbox.wake:
		case <-t.timer.C:
		}
		near := l.inbox.near.Swap(false)
		if near {
			runtime.Gosched()
		}
		t.mu.Lock()
		if near {
			l.node.Gathered()
		}
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

// Ring has the loop's goroutine do a turn.
func (l *Loop) Ring() { l.inbox.ring() }

// OfferTurn does a turn for what a connection's reader has left in the inbox, unless one is under way: then the goroutine does
// it afterwards. A reader that is at it answers no pings. So where turns have taken long of late, it leaves them to the goroutine.
func (l *Loop) OfferTurn(conn *jsonrpc.Conn) {
	if !l.turns.mu.TryLock() {
		l.inbox.ring()
		return
	}
	defer l.turns.mu.Unlock()
	switch {
	case l.env.turns.slowest() > slowTurn:
		l.inbox.ring()
	case l.inbox.some(): // or else somebody has taken it meanwhile
		l.turns.reader = conn
		l.takeTurn()
		l.turns.reader = nil
		l.sleep()
	}
}

// takeTurn takes in all that has come, and does what the time asks for. The caller holds turns.mu.
func (l *Loop) takeTurn() {
	t := &l.turns
	if t.over {
		return
	}
	began := time.Now()
	l.env.machine.lock()
	defer l.env.machine.unlock()
	now := time.Now() // a query may have taken long
	l.env.began = now
	l.node.SetTime(now.Sub(l.began), now)
	t.items, t.requests = l.inbox.take(t.items, t.requests)
	for i, item := range t.items {
		item()
		t.items[i] = nil
	}
	whole := t.requests
	if t.requests = whole[l.carryOut(whole, turnTime):]; len(t.requests) == 0 {
		t.requests = whole[:0]
	}
	l.inbox.left.Store(int64(len(t.requests)))
	t.handed = 0
	l.forgetGone(now.Sub(l.began))
	l.node.Tick()
	l.env.answers.flush() // what needed no disk does not wait for it
	err := l.node.Flush()
	l.env.Sent()
	l.env.settle()
	if err != nil {
		l.node.Stop("the server has failed")
	}
	if err != nil || l.stopped() {
		l.carryOut(t.requests, time.Hour) // the core refuses them by now, but answers them
		l.env.answers.flush()
		t.over, t.err = true, err
		return
	}
	l.standings.tell(l.node)
	if leases := l.node.Leases(); leases != l.leases.Load() {
		l.leases.Store(leases)
	}
	l.env.answers.flush()
	ended := time.Now()
	l.env.turns.note(began, ended)
	l.env.times.Observe(ended.Sub(began))
	l.env.tellOthers()
}

// early is how much earlier than it must the goroutine wakes up at most, so that most turns need not set the timer anew.
const early = 10 * time.Millisecond

// sleep has the goroutine wake up by when the next turn is due. It may do so a little earlier, for nothing. The caller holds
// turns.mu.
func (l *Loop) sleep() {
	if l.node.Gathering() {
		l.inbox.ringNear()
	}
	at := l.nextTurn()
	if at >= l.turns.at && at-l.turns.at < early {
		return
	}
	l.turns.at = at
	l.turns.timer.Reset(max(at-time.Since(l.began), 0))
}

// nextTurn is when a turn is due if nothing comes, as the core counts.
func (l *Loop) nextTurn() time.Duration {
	if l.turns.over || len(l.turns.requests) > 0 {
		return 0
	}
	at, ok := l.node.Wake()
	if !ok {
		at = never
	}
	return min(at, l.ending.due(l.began), l.gone.due())
}

// carryOut hands clients' requests to the core while there is time, and returns how many.
func (l *Loop) carryOut(requests []Request, limit time.Duration) int {
	began := time.Now()
	for i := range requests {
		r := &requests[i]
		l.turns.handed = i + 1
		if r.caller == nil {
			continue // the watch has answered it
		}
		if r.Call != nil && r.Op == node.Apply && r.Kind != machine.Command && r.Call.Conn().Gone() {
			l.env.tally.Count(MethodOf(&r.Request), node.ErrRejected)
			r.Call.Fail(node.ErrRejected) // its client has gone, or reads no answers: nobody waits for a query
			continue
		}
		l.node.Request(r.caller, &r.Request)
		if (i%4 == 3 || takesTime(&r.Request)) && time.Since(began) > limit {
			clear(requests[:i+1])
			return i + 1
		}
	}
	clear(requests)
	return len(requests)
}

// takesTime tells whether a request is carried out at once, for as long as the machine likes.
func takesTime(r *node.Request) bool { return r.Op == node.GetServerState || isLocal(r) }
