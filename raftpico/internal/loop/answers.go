package loop

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// answers takes the core's answers to those who wait: calls of connections, which are written out together, and callers in
// process. Owner: the turn, or
// the watch while it looks.
type answers struct {
	dirty map[*jsonrpc.Conn]struct{} // connections with answers not yet written
	last  *jsonrpc.Conn              // the one answered last, if dirty has it
	early map[node.Caller]struct{}   // whom the watch has answered; the core will do so too
	tally Tally                      // of all that were answered
	at    time.Time                  // when the last few were
	fresh int                        // how many more may count as answered then
}

// sameTime is how many answers share a look at the clock. They are given one after the other.
const sameTime = 64

// count counts an answer to a request that came at a time.
func (a *answers) count(m Method, came time.Time, err *jsonrpc.Error) {
	if a.fresh--; a.fresh < 0 {
		a.at, a.fresh = time.Now(), sameTime-1
	}
	a.tally.Count(m, err)
	a.tally.took(m, a.at.Sub(came))
}

// maxDirty bounds how many connections have answers not yet written: each has a buffer meanwhile, and writing takes time.
// Where ten thousand requests of a thousand connections are answered at once, each connection is written to less often.
const maxDirty = 256

// waiter is an in-process caller. The loop must not wait for one that is gone: there is room for the outcome. A caller
// that waits no longer takes that room itself, so that the loop can tell.
type waiter struct {
	outcome chan outcome // capacity 1
	room    []byte       // for a result, empty; nil: none
	method  Method
	came    time.Time
}

// tell reports whether the room was free.
func (w *waiter) tell(o outcome) bool {
	select {
	case w.outcome <- o:
		return true
	default:
		return false
	}
}

// own is a copy of a result, which may be a part of the machine's state.
func (w *waiter) own(result json.RawMessage) json.RawMessage {
	switch {
	case result == nil:
		return nil
	case len(result) > cap(w.room):
		return bytes.Clone(result)
	}
	return append(w.room[:0:len(result)], result...)
}

// waiters are those whose outcome has been received: nobody else can send them one any more.
var waiters = sync.Pool{New: func() any { return &waiter{outcome: make(chan outcome, 1)} }}

type outcome struct {
	result json.RawMessage
	err    *jsonrpc.Error
	early  bool // the core has the waiter still
}

func (o outcome) unpack() (json.RawMessage, error) {
	if o.err != nil {
		return nil, o.err
	}
	return o.result, nil
}

// Answer implements node.Env.
func (a *answers) Answer(caller node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	if len(a.early) > 0 {
		if _, told := a.early[caller]; told {
			delete(a.early, caller)
			return
		}
	}
	a.give(caller, result, err)
}

// Park implements node.Env. A connection may have as many waiting as places are free: so there are always some for others.
// One that has ended has none: its end was looked at before (gone.go).
func (a *answers) Park(caller node.Caller, free int) (node.Caller, bool) {
	call, ok := caller.(*jsonrpc.Call)
	if _, told := a.early[caller]; told || !ok {
		return caller, true
	}
	if call.Conn().Gone() || call.Conn().Detached() >= free {
		return nil, false
	}
	return call.Detach(), true
}

// Reaches implements node.Env.
func (a *answers) Reaches(caller node.Caller) bool {
	if _, told := a.early[caller]; told {
		return false
	}
	switch c := caller.(type) {
	case *jsonrpc.Call:
		return !c.Conn().Gone()
	case *waiter:
		return len(c.outcome) == 0
	}
	return true
}

// answerEarly answers a caller that the core will answer later. It is for the watch.
func (a *answers) answerEarly(caller node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	if _, told := a.early[caller]; told {
		return
	}
	if a.early == nil {
		a.early = map[node.Caller]struct{}{}
	}
	a.early[caller] = struct{}{}
	if w, ok := caller.(*waiter); ok {
		a.count(w.method, w.came, err)
		w.tell(outcome{w.own(result), err, true})
		return
	}
	a.give(caller, result, err)
}

// give answers a caller.
func (a *answers) give(caller node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	switch c := caller.(type) {
	case *jsonrpc.Call:
		a.count(Method(c.Tag), c.Came(), err)
		if err != nil {
			c.Fail(err)
		} else {
			c.Result(result)
		}
		if conn := c.Conn(); conn != a.last { // answers come in runs
			if len(a.dirty) >= maxDirty {
				a.flush()
			}
			a.dirty[conn], a.last = struct{}{}, conn
		}
	case *waiter:
		a.count(c.method, c.came, err)
		c.tell(outcome{c.own(result), err, false})
	default:
		panic(fmt.Sprintf("raftpico: answer to a %T", caller))
	}
}

// flush writes out each connection that has answers.
func (a *answers) flush() {
	for conn := range a.dirty {
		conn.Flush()
	}
	clear(a.dirty)
	a.last, a.fresh = nil, 0
}
