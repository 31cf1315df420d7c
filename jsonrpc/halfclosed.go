package jsonrpc

import "time"

// A client that has stopped sending may still read, as `nc -N` does, and one that was killed looks the same: both are the
// end of what comes. Where requests are detached, which may wait for minutes, the server finds out which it is: it writes a
// space, now and then. Before a JSON text it means nothing (RFC 8259 §2), so a client that reads sees its answer begin with a few.
// Who is not there any more answers with a reset, and the next space fails.

// probeEvery is from one space to the next.
const probeEvery = time.Second

// awaitAnswers waits until a connection that is read no more has answered all, or is cut off. The reader, which holds mu, calls it.
func (c *Conn) awaitAnswers() {
	if c.state != ended || c.requests+c.detached == 0 {
		return
	}
	due := false
	timer := time.AfterFunc(probeEvery, func() {
		c.mu.Lock()
		due = true
		c.changed.Broadcast()
		c.mu.Unlock()
	})
	defer timer.Stop()
	for c.state == ended && c.requests+c.detached > 0 {
		if due {
			due = false
			c.probe()
			timer.Reset(probeEvery)
			continue // it may have been cut off
		}
		c.changed.Wait()
	}
}

// probe writes a space, unless answers wait to be sent: they probe as well. What is in the buffer are whole lines, so the
// space is in front of one.
func (c *Conn) probe() {
	if c.detached == 0 || c.out.sendable() > 0 {
		return
	}
	if buf := c.buffered(1); c.state == ended {
		c.out.buf = append(buf, ' ')
		c.flush()
	}
}
