package jsonrpc

import (
	"bytes"
	"errors"
	"time"
)

// Call is one request of one connection. Whoever has it answers it once, by Result or Fail, from any goroutine; a notification
// too, where the answer is dropped but tells that it is done with. A Call may be copied; then one copy is answered.
//
// The request aliases the memory that it was read into, up to 32 KiB of requests that came together or 4 MiB of
// long ones, and keeps it alive.
type Call struct {
	Request
	chunk    *chunk
	batch    *batch // nil outside a batch
	Tag      uint8  // the handler's, for whatever it likes; Detach keeps it
	answered bool
	detached bool
}

// Detach is for a request that will be answered much later. What it returns takes the Call's place: it has the request's ID
// and nothing else of it, so it keeps no memory alive, and takes no place from other requests. How many of those a server
// takes on is for whoever calls this to bound; see Conn.Detached. A connection that has no other requests counts as idle.
func (c *Call) Detach() *Call {
	if c.detached {
		return c
	}
	if c.answered {
		panic("jsonrpc: a call was answered, and then detached")
	}
	c.answered = true // the other one is
	k := c.chunk.conn
	own := &Call{Request: Request{ID: bytes.Clone(c.ID)}, chunk: &chunk{conn: k, came: c.chunk.came}, batch: c.batch, Tag: c.Tag, detached: true}
	k.mu.Lock()
	k.detached++
	c.chunk.leave()
	k.release()
	k.unlock()
	return own
}

// chunk is the requests that were read at once; they share memory, so that it counts until the last is answered.
// Guarded by Conn.mu.
type chunk struct {
	conn *Conn
	came time.Time // not guarded: set once, before the first request is handed over
	left int       // requests not yet answered, and one while the reader is not yet through
	size int       // bytes

	memory int // bytes that the requests share; never changes
}

// leave counts down, and gives the memory of the chunk back at the end.
func (ch *chunk) leave() {
	if ch.left--; ch.left == 0 {
		ch.conn.pinned -= ch.size
	}
}

// Memory is how many bytes the request aliases: those of all that came with it. Who keeps a part keeps all of them alive.
func (c *Call) Memory() int { return c.chunk.memory }

// Came is when the request was decoded, with those that came with it.
func (c *Call) Came() time.Time { return c.chunk.came }

// Conn is the connection that the request came over.
func (c *Call) Conn() *Conn { return c.chunk.conn }

// Result answers with a result: valid JSON without newline, which the caller may use again afterwards; empty means null.
// The answer is sent by Conn.Flush at the latest. If the connection is gone, nothing happens. If more than MaxUnsent bytes
// of earlier answers wait to be sent, the connection is closed.
func (c *Call) Result(result []byte) { c.answer(result, nil) }

// Fail answers with an error, which must not be nil. Else it is like Result.
func (c *Call) Fail(e *Error) {
	if e == nil {
		panic("jsonrpc: Fail without an error")
	}
	c.answer(nil, e)
}

func (c *Call) answer(result []byte, e *Error) {
	if c.answered {
		panic("jsonrpc: a call was answered twice")
	}
	c.answered = true
	k := c.chunk.conn
	k.mu.Lock()
	if c.ID != nil {
		k.put(c.batch, c.ID, result, e)
	}
	if c.batch != nil {
		k.leave(c.batch)
	}
	if c.detached {
		k.detached--
		k.ifLast()
	} else {
		c.chunk.leave()
		k.release()
	}
	k.unlock()
}

// release gives a request's place to others. The caller holds mu.
func (k *Conn) release() {
	k.requests--
	if k.requests == k.srv.limits.MaxUnderway/2 || k.requests == k.pauseAt {
		k.changed.Broadcast() // what the reader may wait for
	}
	k.ifLast()
}

// ifLast looks whether nothing more is to be answered. The caller holds mu.
func (k *Conn) ifLast() {
	if k.requests > 0 {
		return
	}
	if k.detached == 0 && k.state == ended {
		k.flush()
	}
	k.changed.Broadcast()
}

// Detached is how many requests of the connection were detached and are not yet answered.
func (c *Conn) Detached() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detached
}

// Handle makes a Server's Handler of a function that answers at once. What it returns is encoded as JSON, json.RawMessage as it is;
// an error that is, or wraps, an *Error is answered as it is, any other as ErrInternal with its text as the reason.
// Requests of one connection are worked on one after the other, those of several connections at once.
func Handle(f func(*Request) (any, error)) func([]Call) {
	return func(calls []Call) {
		for i := range calls {
			call := &calls[i]
			result, err := f(&call.Request)
			var out []byte
			if err == nil {
				out, err = encode(result)
			}
			if err == nil {
				call.Result(out)
			} else {
				call.Fail(asError(err))
			}
			call.Conn().throttle()
		}
		calls[0].Conn().Flush()
	}
}

// throttle lets a handler that answers at once go no faster than the client takes the answers.
func (c *Conn) throttle() {
	c.mu.Lock()
	if limit := c.srv.limits.MaxUnsent / 4; c.out.sendable() > limit {
		c.awaitSent(limit)
	}
	c.unlock()
}

func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return ErrInternal.Because(err.Error())
}
