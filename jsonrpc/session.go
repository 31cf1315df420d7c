package jsonrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"
)

// The reader goroutine of a connection: read all there is, decode it, hand it over in one piece.

// serve is the goroutine. It ends when the connection is closed and its writer has nothing more to do, or when another
// one has relieved it.
func (c *Conn) serve(shift int64) {
	var err error
	relieved := false
	if shift == 0 && c.over == nil {
		err = c.enter()
	}
	if err == nil {
		err, relieved = c.read(shift)
	}
	if relieved {
		return
	}
	c.giveUp()
	c.report(err)
	_ = c.in.fail(err)
	if grace := c.finish(err); grace > 0 {
		c.linger(grace)
	}
	c.end()
}

// giveUp lets go of what was read and will not be decoded.
func (c *Conn) giveUp() {
	c.mu.Lock()
	if c.decoding {
		c.decoding = false
		c.came.leave()
	}
	c.unlock()
}

// Relieve has another goroutine read on, for one that is in Handler and will be there for long: that one ends when
// Handler returns. Whoever calls it knows that Handler is being called, and that it touches nothing more that belongs
// to the reader.
func (c *Conn) Relieve() {
	shift := c.shift.Add(1)
	c.srv.wg.Add(1) // who is relieved is still counted
	go func() {
		defer c.srv.wg.Done()
		c.serve(shift)
	}()
}

// read hands requests over until there are no more, or until it has been relieved.
func (c *Conn) read(shift int64) (err error, relieved bool) {
	for c.ready() {
		if len(c.in.rest) == 0 {
			if err := c.in.fill(); err != nil {
				return err, false
			}
			c.came = &chunk{conn: c, left: 1, memory: c.in.given}
		}
		calls, err := c.decode(c.came)
		if len(calls) > 0 {
			c.srv.Handler(calls)
			if c.shift.Load() != shift {
				return nil, true
			}
		}
		if err != nil {
			return err, false
		}
	}
	return nil, false
}

// ready waits until there is room for more requests and answers, and reports whether the connection still takes any.
func (c *Conn) ready() bool {
	limits := &c.srv.limits
	c.mu.Lock()
	defer c.unlock()
	if c.requests >= limits.MaxUnderway {
		for c.state == open && c.requests > limits.MaxUnderway/2 {
			c.changed.Wait()
		}
	}
	for c.state == open && c.pauseAt >= 0 && c.requests > c.pauseAt {
		c.changed.Wait()
	}
	c.pauseAt = -1
	if c.out.sendable() > limits.MaxUnsent/4 {
		c.awaitSent(limits.MaxUnsent / 4)
	}
	return c.state == open
}

// smallest is the length of the shortest request with its newline.
const smallest = len(`{"jsonrpc":"2.0","method":""}`) + 1

// callSize is the memory of a Call, in bytes.
const callSize = int(unsafe.Sizeof(Call{}))

// decode decodes what has been read, as far as there is room for requests, and answers what is none. A batch comes
// alone: it needs places for all of its requests at once.
func (c *Conn) decode(ch *chunk) (calls []Call, err error) {
	batch, want := c.expect()
	given := c.in.given
	places, err := c.srv.budget.enter(c, c.in.taken(), given+want*callSize, want, batch)
	if err != nil {
		return nil, err
	}
	if places == 0 { // it has its share: ready waits
		c.mu.Lock()
		c.decoding, c.pauseAt = true, c.requests-c.requests/8-1
		c.unlock()
		return nil, nil
	}
	c.in.part()
	calls = make([]Call, 0, places)
	bad := false // a line without a request was there
	for len(calls) < places && !(bad && c.behind()) {
		if next, _ := beginsBatch(c.in.rest); next != batch {
			break
		}
		var line []byte
		if line, err = c.in.cut(); line == nil {
			break
		}
		if !c.begun {
			if err = c.port.firstLine(line); err != nil {
				break
			}
			c.begun = true
		}
		n := len(calls)
		calls = c.decodeLine(calls, line, ch)
		bad = bad || len(calls) == n
		if whole, _ := beginsBatch(line); whole {
			break
		}
	}

	c.mu.Lock()
	defer c.unlock()
	c.moved = time.Now()
	if ch.came.IsZero() {
		ch.came = c.moved
	}
	c.told.underway += given + want*callSize
	c.told.requests += places
	c.requests += len(calls)
	ch.left += len(calls)
	given += cap(calls) * callSize
	ch.size += given
	c.pinned += given
	if c.decoding = len(c.in.rest) > 0; !c.decoding {
		ch.leave()
	}
	if bad {
		c.flush() // its error does not wait for the handler
	}
	return calls, err
}

// expect tells how many requests come next at most, as far as there is room for them on this connection, and whether
// they are a batch.
func (c *Conn) expect() (batch bool, n int) {
	rest := c.in.rest
	if batch, i := beginsBatch(rest); batch {
		line := rest[i:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		scanArray(line, 0, c.depth, func([]byte) { n++ }) // once more, but batches are rare
		return true, min(max(n, 1), c.srv.limits.MaxUnderway)
	}
	c.mu.Lock()
	room := c.srv.limits.MaxUnderway - c.requests
	c.mu.Unlock()
	some := rest[:min(len(rest), busyBuffer)]
	return false, min(bytes.Count(some, newline)+1, len(some)/smallest+1, room)
}

// beginsBatch tells whether what comes next is a batch, and where it begins.
func beginsBatch(rest []byte) (bool, int) {
	i := skipSpace(rest, 0)
	return i < len(rest) && rest[i] == '[', i
}

// behind reports whether the client has to take answers before it gets more.
func (c *Conn) behind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.sendable() > c.srv.limits.MaxUnsent/4
}

var newline = []byte{'\n'}

// decodeLine appends the requests of a line to calls.
func (c *Conn) decodeLine(calls []Call, line []byte, ch *chunk) []Call {
	if i := skipSpace(line, 0); i < len(line) && line[i] == '[' {
		return c.decodeBatch(calls, line, i, ch)
	}
	n := len(calls)
	calls = append(calls, Call{chunk: ch})
	if err := decode(line, c.depth, &calls[n].Request, c.names); err != nil {
		c.refuse(nil, calls[n].ID, err)
		return calls[:n]
	}
	return calls
}

// decodeBatch appends the requests of an array that begins at line[i]. It is scanned twice, so that nothing of a line
// that turns out to be no JSON is carried out.
func (c *Conn) decodeBatch(calls []Call, line []byte, i int, ch *chunk) []Call {
	limit := c.srv.limits.MaxUnderway
	var elements [][]byte
	n := 0
	end := scanArray(line, i, c.depth, func(value []byte) {
		if n++; n <= limit {
			elements = append(elements, value)
		}
	})
	switch {
	case end < 0 || skipSpace(line, end) != len(line):
		c.refuse(nil, nil, notJSON(line))
		return calls
	case n == 0:
		c.refuse(nil, nil, errEmptyBatch)
		return calls
	case n > limit:
		c.refuse(nil, nil, ErrInvalidRequest.Because(fmt.Sprintf("a batch of more than %d requests", limit)))
		return calls
	}
	b := &batch{left: 1}
	for _, element := range elements {
		n := len(calls)
		calls = append(calls, Call{chunk: ch, batch: b})
		if err := decode(element, c.depth, &calls[n].Request, c.names); err != nil {
			c.refuse(b, calls[n].ID, err)
			calls = calls[:n]
			continue
		}
		b.left++ // nobody else knows b yet
	}
	c.mu.Lock()
	c.leave(b)
	c.unlock()
	return calls
}

// refuse answers what is no request, with its id if that could be read.
func (c *Conn) refuse(b *batch, id []byte, e *Error) {
	c.srv.counts.line(e)
	c.mu.Lock()
	c.put(b, id, nil, e)
	c.unlock()
}

// finish waits until the last answers are sent, after reading ended with err. It returns how long to linger.
func (c *Conn) finish(err error) time.Duration {
	c.mu.Lock()
	defer c.unlock()
	other, isForeign := errors.AsType[*foreign](err)
	tooLong := errors.Is(err, ErrLineTooLong)
	_, shutOut := errors.AsType[*handshakeError](err)
	switch {
	case c.state != open:
	case tooLong:
		c.srv.counts.line(ErrInvalidRequest)
		c.put(nil, nil, nil, ErrInvalidRequest.Because("line too long"))
		c.state = max(c.state, ended)
	case isForeign:
		c.srv.counts.line(ErrParse)
		c.out.buf = append(c.buffered(len(other.answer)), other.answer...)
		c.state = ended
	case shutOut:
		c.state = ended // the reason is on its way, and a reset would destroy it
	case err == io.EOF:
		c.state = ended // the client may still read: `nc -N` sends, half-closes, and reads
	default:
		c.cutLocked(nil)
	}
	c.flush()
	c.awaitAnswers()
	if (tooLong || isForeign || shutOut) && c.state == ended {
		c.grace = closeGrace
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.grace))
	}
	c.awaitSent(0)
	if c.state == dead {
		return 0
	}
	c.whole = (err == io.EOF || tooLong) && c.state == ended
	return c.grace
}

// linger tells the client that nothing more comes, and reads, into the void, until the client has closed. To close with
// bytes unread would send a reset, which may destroy answers that the client has not read yet (RFC 1122 §4.2.2.13).
func (c *Conn) linger(grace time.Duration) {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.mu.Lock()
	if c.state != dead {
		_ = c.nc.SetReadDeadline(time.Now().Add(min(grace, c.grace))) // the server may have closed meanwhile
	}
	c.mu.Unlock()
	_, _ = io.CopyN(io.Discard, c.nc, drainLimit)
}

// end closes the connection and gives everything back.
func (c *Conn) end() {
	c.mu.Lock()
	cause := c.cause
	c.cutLocked(nil)
	c.mu.Unlock()
	_ = c.nc.Close()
	c.mu.Lock()
	for c.out.working {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.srv.gone(c, cause)
	if c.over != nil {
		close(c.over)
	}
}
