package loop

import (
	"bytes"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// isLocal tells whether a request is a local query.
func isLocal(r *node.Request) bool { return r.Op == node.Apply && r.Kind == machine.LocalQuery }

// queryBetween carries out a local query on its caller's goroutine. It reports false if a turn is at work or due, or another
// query is, there are no more turns, or the query wants to wait: then it goes the way of all requests. The answer is made with the lock held, since the
// result may be a part of the machine's state.
func (l *Loop) queryBetween(input json.RawMessage, answer func(json.RawMessage, *jsonrpc.Error)) bool {
	if !l.env.machine.try() {
		return false
	}
	defer l.env.machine.unlock()
	if l.turns.over {
		return false
	}
	result, err, waits := l.node.LocalQuery(input, false)
	if waits {
		return false
	}
	answer(result, err)
	return true
}

// locally is Call of a local query that can be carried out at once.
func (l *Loop) locally(input json.RawMessage) (o outcome, done bool) {
	done = l.queryBetween(input, func(result json.RawMessage, err *jsonrpc.Error) {
		l.env.tally.Count(methodLocalQuery, err)
		o = outcome{bytes.Clone(result), err, false}
	})
	return o, done
}

// Locals carries out the local queries among what a reader has brought, as long as a turn would: the rest must not wait for
// many slow ones.
type Locals struct {
	loop  *Loop
	count int
	began time.Time     // of the first
	since time.Duration // until the last look at the clock
	late  bool
}

// Locals are those of what a reader has brought now.
func (l *Loop) Locals() Locals { return Locals{loop: l} }

// Answer answers a request, if it is a local query that can be carried out at once.
func (o *Locals) Answer(r *Request) bool {
	if !isLocal(&r.Request) || o.late || r.Call.Conn().Gone() {
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
	return o.loop.queryBetween(r.Input, func(result json.RawMessage, err *jsonrpc.Error) {
		tally := &o.loop.env.tally
		tally.Count(methodLocalQuery, err)
		tally.took(methodLocalQuery, o.began.Add(o.since).Sub(r.Call.Came()))
		if err != nil {
			r.Call.Fail(err)
		} else {
			r.Call.Result(result)
		}
	})
}
