package jsonrpc

import "time"

// output is what a connection has to send. Guarded by Conn.mu.
type output struct {
	direct  *TryWriter // nil where there is none
	buf     []byte     // answers that nobody sends yet
	busy    int        // bytes that the writer goroutine has yet to send; it is at work if and only if busy > 0
	batched int        // bytes of answers to batches that are not complete
}

func (o *output) unsent() int { return len(o.buf) + o.busy + o.batched }

// sendable leaves the batches out: waiting for those to be sent would wait for the handler.
func (o *output) sendable() int { return len(o.buf) + o.busy }

func (o *output) drop() { o.buf, o.batched = nil, 0 }

// Flush sends what was answered since the last Flush. It never blocks: what the kernel does not take at once is sent by a
// goroutine. After a turn that answered many requests, flush each connection once.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.flush()
	c.unlock()
}

// flush does it. The caller holds mu.
func (c *Conn) flush() {
	o := &c.out
	if c.state == dead || o.busy > 0 || len(o.buf) == 0 {
		return
	}
	sent := 0
	if o.direct != nil {
		var err error
		if sent, err = o.direct.Try(o.buf); err != nil {
			c.cutLocked(err)
			return
		}
	}
	buf := o.buf
	o.buf = nil
	if sent == len(buf) {
		c.srv.spare.put(buf)
		c.changed.Broadcast()
		return
	}
	o.busy = len(buf) - sent
	go c.write(buf, sent)
}

// awaitSent flushes, and waits until at most limit bytes are unsent or the connection is cut off. The caller, a goroutine
// that may block, holds mu.
func (c *Conn) awaitSent(limit int) {
	for c.state != dead && c.out.sendable() > limit {
		if c.flush(); c.out.busy > 0 {
			c.changed.Wait()
		}
	}
}

// write is the writer goroutine. It owns buf, sends buf[sent:] and then what has gathered meanwhile, and ends when there
// is nothing more, or with the connection: the reader waits for that.
func (c *Conn) write(buf []byte, sent int) {
	for busy := true; busy; {
		n, err := c.nc.Write(buf[sent:min(sent+256<<10, len(buf))]) // in pieces, so that busy tells how it goes on
		sent += n
		c.mu.Lock()
		c.out.busy -= n
		if n > 0 {
			c.moved = time.Now()
		}
		if sent == len(buf) {
			c.srv.spare.put(buf)
			buf, sent = c.out.buf, 0
			c.out.buf, c.out.busy = nil, len(buf)
		}
		if err != nil {
			c.out.busy = 0
			c.cutLocked(err)
		}
		busy = c.out.busy > 0
		c.changed.Broadcast()
		c.unlock()
	}
}

// put appends an answer: the result, or e unless it is nil. The caller holds mu.
func (c *Conn) put(b *batch, id, result []byte, e *Error) {
	if c.out.unsent() > c.srv.limits.MaxUnsent {
		c.cutLocked(errUnsent)
	}
	if c.state == dead {
		return
	}
	if b != nil {
		before := len(b.out)
		b.out = appendAnswer(append(b.out, b.separator()), id, result, e)
		c.out.batched += len(b.out) - before
		return
	}
	c.line(appendAnswer(c.buffered(), id, result, e))
}

// buffered is the buffer to append to.
func (c *Conn) buffered() []byte {
	if c.out.buf == nil {
		return c.srv.spare.get()[:0]
	}
	return c.out.buf
}

// line ends the line in buf. A full buffer is sent, rather than grown.
func (c *Conn) line(buf []byte) {
	c.out.buf = append(buf, '\n')
	if len(c.out.buf) >= busyBuffer-1<<10 {
		c.flush()
	}
}

func appendAnswer(dst, id, result []byte, e *Error) []byte {
	if e != nil {
		return AppendError(dst, id, e)
	}
	return AppendResult(dst, id, result)
}

// batch gathers the answers to a JSON array of requests. Guarded by Conn.mu.
type batch struct {
	left int // requests not yet answered, and one while the reader is not yet through
	out  []byte
}

func (b *batch) separator() byte {
	if len(b.out) == 0 {
		return '['
	}
	return ','
}

// leave counts down, and sends the answers of a complete batch, if there are any. The caller holds mu.
func (c *Conn) leave(b *batch) {
	if b.left--; b.left > 0 || len(b.out) == 0 || c.state == dead {
		return
	}
	c.out.batched -= len(b.out)
	c.line(append(append(c.buffered(), b.out...), ']'))
}
