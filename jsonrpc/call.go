package jsonrpc

import "errors"

// Call is one request of one connection. Whoever has it answers it once, by Result or Fail, from any goroutine; a notification
// too, where the answer is dropped but tells that it is done with. A Call may be copied; then one copy is answered.
//
// The request aliases the memory that it was read into, up to 32 KiB of requests that came together or 1 MiB of
// long ones, and keeps it alive.
type Call struct {
	Request
	chunk    *chunk
	batch    *batch // nil outside a batch
	answered bool
}

// chunk is the requests that were read at once; they share memory, so that it counts until the last is answered.
// Guarded by Conn.mu.
type chunk struct {
	conn *Conn
	left int // requests not yet answered, and one while the reader is not yet through
	size int // bytes
}

// leave counts down, and gives the memory of the chunk back at the end.
func (ch *chunk) leave() {
	if ch.left--; ch.left == 0 {
		ch.conn.pinned -= ch.size
	}
}

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
	c.chunk.leave()
	k.requests--
	if k.requests == 0 && k.state == ended {
		k.flush()
	}
	if k.requests == 0 || k.requests == k.srv.limits.MaxUnderway/2 || k.requests == k.pauseAt {
		k.changed.Broadcast() // what the reader may wait for
	}
	k.unlock()
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
