package raftpico

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// between guards the machine. A turn holds it, but not while it waits for the disk. In between, local queries are carried out
// by whoever brings them: they need nothing of the loop, neither a wake-up nor, with a slow disk, its patience.
type between struct {
	mu  sync.Mutex
	due atomic.Bool // a turn waits for mu
}

// lock is for a turn. It waits for the query that is under way.
func (b *between) lock() {
	b.due.Store(true)
	b.mu.Lock()
	b.due.Store(false)
}

// try is for a query, which never waits: so whoever asks for much holds up no turn, and no other query.
func (b *between) try() bool { return !b.due.Load() && b.mu.TryLock() }

// isLocal tells whether a request is a local query.
func isLocal(r *node.Request) bool { return r.Op == node.Apply && r.Kind == machine.LocalQuery }

// queryBetween carries out a local query on its caller's goroutine. It reports false if a turn is at work or due, or another
// query is, or there are no more turns: then this one goes the way of all requests. The answer is made with the lock held, since the
// result may be a part of the machine's state.
func (l *loop) queryBetween(input json.RawMessage, answer func(json.RawMessage, *jsonrpc.Error)) bool {
	if !l.between.try() {
		return false
	}
	defer l.between.mu.Unlock()
	if l.turns.over {
		return false
	}
	answer(l.node.LocalQuery(input))
	return true
}

// locally is Server.Apply of a local query that can be carried out at once.
func (l *loop) locally(input json.RawMessage) (o outcome, done bool) {
	done = l.queryBetween(input, func(result json.RawMessage, err *jsonrpc.Error) { o = outcome{bytes.Clone(result), err} })
	return o, done
}

// locals carries out the local queries among what a reader has brought, as long as a turn would: the rest must not wait for
// many slow ones.
type locals struct {
	loop  *loop
	count int
	began time.Time // of the first
	late  bool
}

// answer answers a call, if it is a local query that can be carried out at once.
func (o *locals) answer(call *jsonrpc.Call, r *node.Request) bool {
	if !isLocal(r) || o.late || call.Conn().Gone() {
		return false
	}
	switch {
	case o.count == 0:
		o.began = time.Now()
	case o.count%4 == 0 && time.Since(o.began) > turnTime:
		o.late = true
		return false
	}
	o.count++
	return o.loop.queryBetween(r.Input, func(result json.RawMessage, err *jsonrpc.Error) {
		if err != nil {
			call.Fail(err)
		} else {
			call.Result(result)
		}
	})
}
