package jsonrpc

import "time"

// output is what a connection has to send. Guarded by Conn.mu.
//
// It is a row of buffers, none of which grows beyond busyBuffer: a long answer has one of its own size.
type output struct {
	direct  *TryWriter // nil where there is none
	buf     []byte     // the last one: answers are appended to it
	full    [][]byte   // those before it, for the writer goroutine
	working bool       // the writer is at work; if not, full is empty
	busy    int        // bytes that the writer has yet to send of its buffer
	writing int        // that buffer's capacity
	queued  int        // Σ len of full
	kept    int        // Σ cap of full
	batched int        // bytes of answers to batches that are not complete
	batches int        // capacity of those
}

func (o *output) unsent() int { return o.sendable() + o.batched }

// sendable leaves the batches out: waiting for those to be sent would wait for the handler.
func (o *output) sendable() int { return o.busy + o.queued + len(o.buf) }

// held is the memory that it takes. One buffer of the usual size counts only as far as it is filled, as long as the
// client takes what it is sent: it goes back to the others when it is flushed.
func (o *output) held() int {
	last := cap(o.buf)
	if last == busyBuffer && !o.working {
		last = len(o.buf)
	}
	return o.writing + o.kept + last + o.batches
}

func (o *output) drop() {
	o.buf, o.full = nil, nil
	o.queued, o.kept, o.batched, o.batches = 0, 0, 0, 0
}

// push moves the last buffer to those before it.
func (o *output) push() {
	o.queued += len(o.buf)
	o.kept += cap(o.buf)
	o.full = append(o.full, o.buf)
	o.buf = nil
}

// next is what the writer sends next, nil if nothing.
func (o *output) next() (buf []byte) {
	if len(o.full) > 0 {
		buf = o.full[0]
		o.full[0] = nil
		o.full = o.full[1:]
		o.queued -= len(buf)
		o.kept -= cap(buf)
	} else {
		buf, o.buf = o.buf, nil
	}
	o.busy, o.writing = len(buf), cap(buf)
	return buf
}

// Flush sends what was answered since the last Flush. It never blocks: what the kernel does not take at once is sent
// by a goroutine. After a turn that answered many requests, flush each connection once.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.flush()
	c.unlock()
}

// flush does it. The caller holds mu.
func (c *Conn) flush() {
	o := &c.out
	if c.state == dead || o.working || len(o.buf) == 0 {
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
	buf := o.next()
	if o.busy -= sent; o.busy == 0 {
		o.writing = 0
		c.srv.spare.put(buf)
		c.changed.Broadcast()
		return
	}
	o.working = true
	go c.write(buf, sent)
}

// awaitSent flushes, and waits until at most limit bytes are unsent or the connection is cut off. The caller, a
// goroutine that may block, holds mu.
func (c *Conn) awaitSent(limit int) {
	for c.state != dead && c.out.sendable() > limit {
		if c.flush(); !c.out.working {
			continue
		}
		if !c.stalled && c.pinned > 0 {
			c.stalled = true
			c.unlock() // tell the budget
			c.mu.Lock()
			continue
		}
		c.changed.Wait()
	}
	c.stalled = false
}

// write is the writer goroutine. It owns buf, sends buf[sent:] and then what has gathered meanwhile, and ends when
// there is nothing more, or with the connection: the reader waits for that.
func (c *Conn) write(buf []byte, sent int) {
	for working := true; working; {
		n, err := c.nc.Write(buf[sent:min(sent+256<<10, len(buf))]) // in pieces, so that busy tells how it goes on
		sent += n
		c.mu.Lock()
		c.out.busy -= n
		if n > 0 {
			c.moved = time.Now()
		}
		if err != nil {
			c.cutLocked(err)
		}
		if sent == len(buf) || c.state == dead {
			c.srv.spare.put(buf)
			buf, sent = c.out.next(), 0
		}
		working = len(buf) > 0
		c.out.working = working
		c.changed.Broadcast()
		c.unlock()
	}
}

// put appends an answer: the result, or e unless it is nil. The caller holds mu.
func (c *Conn) put(b *batch, id, result []byte, e *Error) {
	if c.out.unsent() > c.srv.limits.MaxUnsent {
		c.cutLocked(errUnsent)
	}
	need := len(id) + len(result) + 128
	if e != nil {
		need += len(e.Message) + len(e.Data)
	}
	if need > 4096 && c.state != dead {
		c.reserve(need)
	}
	if b != nil {
		c.gather(b, id, result, e)
		return
	}
	if c.state == dead { // when a greedy client is cut off, much that it has asked for is still to be answered
		return
	}
	if buf := c.buffered(need); c.state != dead {
		c.line(appendAnswer(buf, id, result, e))
	}
}

// gather appends an answer to those of its batch.
func (c *Conn) gather(b *batch, id, result []byte, e *Error) {
	if c.state == dead {
		b.out = nil
		return
	}
	length, capacity := len(b.out), cap(b.out)
	b.out = appendAnswer(append(b.out, b.separator()), id, result, e)
	c.out.batched += len(b.out) - length
	c.out.batches += cap(b.out) - capacity
}

// buffered is the buffer to append so many bytes to. A full one is sent, rather than grown.
func (c *Conn) buffered(need int) []byte {
	o := &c.out
	if o.buf != nil && cap(o.buf)-len(o.buf) < need {
		if cap(o.buf) < busyBuffer && len(o.buf)+need <= busyBuffer { // a small one was enough so far
			return append(c.srv.spare.get()[:0], o.buf...)
		}
		if c.flush(); o.buf != nil {
			o.push()
		}
	}
	if o.buf == nil {
		return c.srv.spare.some(need)
	}
	return o.buf
}

// line ends the line in buf.
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
	c.out.batches -= cap(b.out)
	out := append(b.out, ']')
	b.out = nil
	if c.flush(); c.out.buf != nil {
		c.out.push()
	}
	if c.state != dead {
		c.line(out)
	}
}
