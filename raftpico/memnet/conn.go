package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how much one side may have said that the other has not read, in bytes, before its Write waits.
const window = 256 << 10

// link is a connection: two ends, and what is on its way between them.
type link struct {
	net  *Network
	ends [2]*conn // who dialled, who accepted

	mu      sync.Mutex
	changed sync.Cond // with mu: anything below, or a deadline
	cut     bool
}

// conn is one end. What it says is kept in said, until the other end reads it. Guarded by link.mu.
type conn struct {
	link   *link
	local  Addr
	other  *conn
	said   []byte
	ended  bool // says nothing more
	closed bool // and hears nothing more

	read, write deadline
}

func newLink(n *Network, from, to string) *link {
	k := &link{net: n}
	k.changed.L = &k.mu
	k.ends = [2]*conn{{link: k, local: Addr(from)}, {link: k, local: Addr(to)}}
	k.ends[0].other, k.ends[1].other = k.ends[1], k.ends[0]
	return k
}

func (k *link) setCut(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = cut
	k.changed.Broadcast()
}

// Read implements net.Conn. Through a cut nothing comes, neither bytes nor their end.
func (c *conn) Read(b []byte) (int, error) {
	k := c.link
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.failure("read", net.ErrClosed)
		case c.read.passed():
			return 0, c.failure("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case !k.cut && len(c.other.said) > 0:
			n := copy(b, c.other.said)
			if c.other.said = c.other.said[n:]; len(c.other.said) == 0 {
				c.other.said = nil
			}
			k.changed.Broadcast()
			return n, nil
		case !k.cut && c.other.ended:
			return 0, io.EOF
		}
		k.changed.Wait()
	}
}

// Write implements net.Conn. It waits only while the window is full.
func (c *conn) Write(b []byte) (n int, err error) {
	k := c.link
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		switch {
		case c.closed || c.ended:
			return n, c.failure("write", net.ErrClosed)
		case c.write.passed():
			return n, c.failure("write", os.ErrDeadlineExceeded)
		case !k.cut && c.other.closed:
			return n, c.failure("write", syscall.EPIPE)
		case len(b) == 0:
			return n, nil
		case len(c.said) < window:
			some := min(window-len(c.said), len(b))
			c.said = append(c.said, b[:some]...)
			n, b = n+some, b[some:]
			k.changed.Broadcast()
			continue
		}
		k.changed.Wait()
	}
}

// CloseWrite tells the other side that nothing more comes, as that of a TCP connection does.
func (c *conn) CloseWrite() error {
	k := c.link
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.closed {
		return c.failure("close", net.ErrClosed)
	}
	c.ended = true
	k.changed.Broadcast()
	return nil
}

// Close implements net.Conn. The other side still reads what was said.
func (c *conn) Close() error {
	if c.close() {
		c.link.net.forget(c.link)
	}
	return nil
}

func (c *conn) close() (both bool) {
	k := c.link
	k.mu.Lock()
	defer k.mu.Unlock()
	c.ended, c.closed = true, true
	c.other.said = nil
	c.read.set(k, time.Time{})
	c.write.set(k, time.Time{})
	k.changed.Broadcast()
	return c.other.closed
}

func (c *conn) failure(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.other.local, Err: err}
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.other.local }

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.read, &c.write)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadlines(t, &c.read) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *conn) setDeadlines(t time.Time, deadlines ...*deadline) error {
	k := c.link
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.closed {
		return c.failure("set", net.ErrClosed)
	}
	for _, d := range deadlines {
		d.set(k, t)
	}
	k.changed.Broadcast()
	return nil
}

// deadline is when reading or writing ends. Guarded by link.mu.
type deadline struct {
	at    time.Time // zero: never
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set moves the deadline, and has who waits look at it when it comes.
func (d *deadline) set(k *link, at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = at; at.IsZero() {
		return
	}
	d.timer = time.AfterFunc(time.Until(at), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.changed.Broadcast()
	})
}
