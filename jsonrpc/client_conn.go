package jsonrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"
)

// The two directions of a Client's connection, and how it ends.

// maxSpare is the largest buffer that is kept for later, and maxWrite what is written at once, in bytes.
const (
	maxSpare = 256 << 10
	maxWrite = 256 << 10
)

// push sees that what is queued is written. A caller that is alone does it itself, which spares waking the writer; what the
// socket does not take at once is left to the writer. The caller holds mu, which push releases.
func (c *Client) push() {
	if c.out.writing {
		c.mu.Unlock()
		return
	}
	c.out.writing = true
	if c.direct == nil || c.Underway() > 1 {
		c.mu.Unlock()
		c.wake <- struct{}{} // has room: nobody else was writing
		return
	}
	buf := c.take()
	c.mu.Unlock()
	n, err := c.direct.Try(buf)
	if err != nil {
		c.lost(err, len(buf)-n)
		return
	}
	c.mu.Lock()
	if c.out.rest = buf[n:]; len(c.out.rest) == 0 {
		c.keep(buf)
	}
	more := len(c.out.rest) > 0 || len(c.out.lines) > 0
	c.out.writing = more
	c.mu.Unlock()
	if more {
		c.wake <- struct{}{}
	}
}

// take is all that is queued, nil if nothing is. The caller holds mu.
func (c *Client) take() []byte {
	if len(c.out.lines) == 0 {
		return nil
	}
	buf := c.out.lines
	c.out.lines, c.out.spare = c.out.spare[:0], nil
	c.out.taken = c.out.queued
	if c.out.room != nil {
		close(c.out.room)
		c.out.room = nil
	}
	return buf
}

// keep takes a buffer back. The caller holds mu.
func (c *Client) keep(buf []byte) {
	if c.out.spare == nil && cap(buf) <= maxSpare {
		c.out.spare = buf[:0]
	}
}

// write is a goroutine. It sends what is queued, and ends with the connection.
func (c *Client) write() {
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		for {
			runtime.Gosched() // whoever was answered together asks again together: one write for all
			c.mu.Lock()
			buf := c.out.rest
			c.out.rest = nil
			if len(buf) == 0 {
				buf = c.take()
			}
			c.out.writing = len(buf) > 0
			c.mu.Unlock()
			if len(buf) == 0 {
				break
			}
			for rest := buf; len(rest) > 0; {
				n, err := c.nc.Write(rest[:min(len(rest), maxWrite)])
				if err != nil {
					c.lost(err, len(rest)-n)
					return
				}
				if rest = rest[n:]; len(rest) > 0 {
					c.signs.Add(1) // a long line gets on. NB: of a short one this tells nothing, the kernel takes it in any case
				}
			}
			c.mu.Lock()
			c.keep(buf)
			c.mu.Unlock()
		}
	}
}

// read is a goroutine. It hands answers to those who wait, and ends with the connection.
func (c *Client) read() {
	c.lost(c.readAnswers(), 0)
}

// readAnswers returns why there are no more.
//
// NB: it has a buffer of its own, where the lines of a Reader would be their owners': what is of use of an answer is copied.
func (c *Client) readAnswers() error {
	buf, have := make([]byte, busyBuffer), 0
	for {
		n, err := c.nc.Read(buf[have:])
		c.signs.Add(1)
		seen := have // in there is no newline
		have += n
		used := 0
		for {
			i := bytes.IndexByte(buf[seen:have], '\n')
			if i < 0 {
				break
			}
			if err := c.understand(buf[used : seen+i]); err != nil {
				return err
			}
			used = seen + i + 1
			seen = used
		}
		have = copy(buf, buf[used:have])
		switch {
		case err == io.EOF && have > 0: // the last line may lack its newline
			if err := c.understand(buf[:have]); err != nil {
				return err
			}
			return err
		case err != nil:
			return err
		case have == len(buf) && have > maxAnswer:
			return ErrLineTooLong
		case have == len(buf):
			buf = append(buf, make([]byte, len(buf))...)
		case have == 0 && len(buf) > longBuffer:
			buf = make([]byte, busyBuffer)
		}
	}
}

// understand does what a line says.
func (c *Client) understand(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	if id, result, ok := plainResult(line); ok {
		c.answer(id, Response{Result: result})
		return nil
	}
	r, err := ParseResponse(line)
	if err != nil {
		return err
	}
	if string(r.ID) == "null" && r.Err != nil {
		return fmt.Errorf("it refused a line: %w", r.Err) // whose, can't be told
	}
	if id, err := strconv.Atoi(string(r.ID)); err == nil {
		c.answer(id, r)
	}
	return nil
}

var resultPrefix, resultName = []byte(`{"jsonrpc":"2.0","id":`), []byte(`,"result":`)

// plainResult looks for an answer in the words of AppendResult, to a call of ours. It takes half the time of ParseResponse,
// which understands all others.
func plainResult(line []byte) (id int, result []byte, ok bool) {
	if !bytes.HasPrefix(line, resultPrefix) {
		return 0, nil, false
	}
	const digits = 9 // it does not overflow
	first := len(resultPrefix)
	at := first
	for ; at < len(line) && at-first < digits && isDigit(line[at]); at++ {
		id = id*10 + int(line[at]-'0')
	}
	if at == first || line[first] == '0' && at > first+1 || !bytes.HasPrefix(line[at:], resultName) {
		return 0, nil, false
	}
	at += len(resultName)
	end := scanValue(line, at, anyDepth)
	if end < 0 || end != len(line)-1 || line[end] != '}' {
		return 0, nil, false
	}
	return id, line[at:end], true
}

// answer ends a call, if there is one of that id. It keeps nothing of r.
func (c *Client) answer(id int, r Response) {
	c.mu.Lock()
	var w *waiter
	if 0 <= id && id < len(c.calls) {
		w = c.calls[id]
	}
	if w != nil {
		c.calls[id] = nil
		c.free = append(c.free, id)
		c.waiting.Add(-1)
	}
	c.mu.Unlock()
	if w != nil && w != nobody {
		if r.Err != nil {
			w.err = r.Err
		} else {
			w.result = append(w.result[:0], r.Result...)
		}
		w.answered <- struct{}{} // has room: it is told once
	}
}

// lost ends the client because the connection is of no use any more. Unsent is how much of what was taken was not sent.
func (c *Client) lost(err error, unsent int) {
	c.mu.Lock()
	if c.err == nil {
		c.out.taken -= int64(unsent)
	}
	c.mu.Unlock()
	c.fail(fmt.Errorf("jsonrpc: connection to %v lost: %w", c.nc.RemoteAddr(), err))
}

// fail ends the client for a reason; the first one counts.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.watch.end()
	calls, taken := c.calls, c.out.taken
	c.calls, c.free, c.out = nil, nil, outgoing{}
	c.waiting.Store(0)
	close(c.done)
	c.mu.Unlock()
	_ = c.nc.Close()
	for _, w := range calls {
		if w == nil || w == nobody {
			continue
		}
		if w.err = err; w.at >= taken {
			w.err = notSent(err)
		}
		w.answered <- struct{}{}
	}
}

// watchTicks is how often a watched connection is looked at within the silence that it may keep.
const watchTicks = 5

// watch notices silence. Guarded by Client.mu.
type watch struct {
	method string
	tick   time.Duration // 0: it is off
	timer  *time.Timer
	armed  bool   // the timer runs
	signs  uint64 // of life, at the last look
	quiet  int    // looks since the last sign
}

var errSilent = errors.New("the server is silent")

// begin is called with each request.
func (w *watch) begin() {
	if w.tick > 0 && !w.armed {
		w.armed, w.quiet = true, 0
		w.timer.Reset(w.tick)
	}
}

func (w *watch) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// look is called by the timer, as long as calls wait.
func (c *Client) look() {
	c.mu.Lock()
	w := &c.watch
	if c.err != nil || c.Underway() == 0 {
		w.armed = false
		c.mu.Unlock()
		return
	}
	w.quiet++
	if signs := c.signs.Load(); signs != w.signs {
		w.signs, w.quiet = signs, 0
	}
	w.timer.Reset(w.tick)
	switch w.quiet {
	case 1:
		c.queue(nobody, w.method, nil)
		c.push()
	case watchTicks - 1:
		c.mu.Unlock()
		c.lost(errSilent, 0)
	default:
		c.mu.Unlock()
	}
}
