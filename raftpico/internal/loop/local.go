package loop

import (
	"bytes"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/uptime"
)

// Two kinds of queries are carried out on the goroutines that bring them: local ones, and at a leader with a lease (package
// node, lease.go) all of them.

// isLocal tells whether a request is a local query.
func isLocal(r *node.Request) bool { return r.Op == node.Apply && r.Kind == machine.LocalQuery }

// needsNoTurn tells whether a request is a query that can be carried out between turns, as far as can be seen from here.
func (l *Loop) needsNoTurn(r *node.Request) bool {
	return isLocal(r) || r.Op == node.Apply && r.Kind == machine.Query && l.leases.Load()
}

// queryBetween carries out such a query on its caller's goroutine. Up is what uptime.Now has told since the query came; a local
// one needs none. It reports false if a turn is at work or due, or another query is, there are no more turns or there is no
// lease, or the query wants to wait: then it goes the way of all requests. The answer is made with the lock held, since the
// result may be a part of the machine's state.
func (l *Loop) queryBetween(r *node.Request, up time.Duration, answer func(json.RawMessage, *jsonrpc.Error)) bool {
	if !l.env.machine.try() {
		return false
	}
	defer l.env.machine.unlock()
	if l.turns.over {
		return false
	}
	if !isLocal(r) {
		result, err, done := l.node.LeasedQuery(r.Input, up)
		if done {
			answer(result, err)
		}
		return done
	}
	result, err, waits := l.node.LocalQuery(r.Input, false)
	if waits {
		return false
	}
	answer(result, err)
	return true
}

// atOnce is Call of a query that can be carried out at once.
func (l *Loop) atOnce(r *node.Request) (o outcome, done bool) {
	var up time.Duration
	if !isLocal(r) {
		up, _ = uptime.Now() // it has worked before
	}
	done = l.queryBetween(r, up, func(result json.RawMessage, err *jsonrpc.Error) {
		l.env.tally.Count(MethodOf(r), err)
		o = outcome{bytes.Clone(result), err, false}
	})
	return o, done
}

// Locals carries out the queries that need no turn among what a reader has brought, as long as a turn would: the rest must
// not wait for many slow ones.
type Locals struct {
	loop  *Loop
	count int
	began time.Time     // of the first
	since time.Duration // until the last look at the clock
	up    time.Duration // what uptime.Now has told, since all this was brought; 0: nothing yet
	late  bool
}

// Locals are those of what a reader has brought now.
func (l *Loop) Locals() Locals { return Locals{loop: l} }

// Answer answers a request, if it is a query that can be carried out at once.
func (o *Locals) Answer(r *Request) bool {
	if !o.loop.needsNoTurn(&r.Request) || o.late || r.Call.Conn().Gone() {
		return false
	}
	switch {
	case o.count == 0:
		o.began = time.Now()
	case o.count%4 == 0:
		if o.since = time.Since(o.began); o.since > turnTime {
			o.late = true
			return false
		}
	}
	o.count++
	if o.up == 0 && !isLocal(&r.Request) {
		o.up, _ = uptime.Now() // as above
	}
	return o.loop.queryBetween(&r.Request, o.up, func(result json.RawMessage, err *jsonrpc.Error) {
		tally, method := &o.loop.env.tally, MethodOf(&r.Request)
		tally.Count(method, err)
		tally.took(method, o.began.Add(o.since).Sub(r.Call.Came()))
		if err != nil {
			r.Call.Fail(err)
		} else {
			r.Call.Result(result)
		}
	})
}
