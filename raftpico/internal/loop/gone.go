package loop

import (
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// gone sees to it that requests which wait for a change or a deferred answer, perhaps for minutes, do not outlive their
// clients. The core is told when connections have ended; of many at once, since it then looks at all that waits.
type gone struct {
	some atomic.Bool   // connections have ended since the last look
	next time.Duration // before this time there is no look; owner: the turn
}

// goneEvery is from one look to the next, at least.
const goneEvery = 250 * time.Millisecond

// Gone tells that a client's connection has ended.
func (l *Loop) Gone() {
	if l.gone.some.CompareAndSwap(false, true) {
		l.inbox.ring()
	}
}

// forgetGone is a step of each turn.
func (l *Loop) forgetGone(now time.Duration) {
	g := &l.gone
	if !g.some.Load() || now < g.next {
		return
	}
	g.some.Store(false)
	g.next = now + goneEvery
	l.node.Forget(func(c node.Caller) bool {
		call, ok := c.(*jsonrpc.Call)
		return ok && call.Conn().Gone()
	})
}

// due is when the next look is due, as the core counts.
func (g *gone) due() time.Duration {
	if !g.some.Load() {
		return never
	}
	return g.next
}
