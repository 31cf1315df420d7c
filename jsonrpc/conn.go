package jsonrpc

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one connection of a Server. Its methods may be called from any goroutine, and after it is gone: then they do
// nothing.
//
// Two goroutines work on it. The reader (session.go) lives as long as the connection: it reads, decodes, calls the
// handler, and closes it at the end. The writer (output.go) lives while there is something that the kernel did not
// take at once.
type Conn struct {
	srv    *Server
	remote net.Addr
	nc     net.Conn     // the reader may make another one of it, in enter, with mu held
	port   *port        // what is spoken here; owner: the reader
	in     *Reader      // owner: the reader
	names  names        // owner: the reader
	depth  int          // owner: the reader
	begun  bool         // the first line was JSON; owner: the reader
	came   *chunk       // owner: the reader; what it read last
	shift  atomic.Int64 // of the reader; see Relieve
	value  atomic.Pointer[any]
	over   chan struct{} // closed when nothing touches the connection any more; nil: nobody waits for that (Converse)

	mu       sync.Mutex // guards what follows
	changed  sync.Cond  // answers were given or sent, or the state is another one
	state    state
	cause    error         // why it was cut off, nil if it was not
	grace    time.Duration // how long closing may take
	out      output
	moved    time.Time // when requests last came, or the writer got rid of something
	requests int       // handed over and not yet answered; 0 <= requests < 2·MaxUnderway
	detached int       // not yet answered, and not among requests: see Call.Detach
	pauseAt  int       // the reader waits until there are no more requests than that; < 0: it does not
	pinned   int       // bytes of the chunks where a request is not yet answered, or not yet handed over
	decoding bool      // the reader is not yet through with its chunk
	stalled  bool      // the reader or a handler waits for the client to take answers: what is pinned counts as held
	exempt   bool      // from the budget
	told     tally     // what the budget knows
	whole    bool      // all that came was answered, and the answers were taken
	doomed   *Conn     // what the budget has cut off for an answer, to be cut off when mu is free

	account account // owner: the budget
}

// tally is what the budget counts of a connection, beside what its reader holds.
type tally struct{ unsent, underway, requests int }

// state only ever grows.
type state int

const (
	open    state = iota
	ended         // nothing more to read: it is closed when everything is answered and sent
	closing       // it is closed when what was answered is sent
	dead          // cut off: nothing is sent
)

const (
	lullTime      = 100 * time.Millisecond // then a whole value is taken for a line, without its newline
	closeGrace    = 5 * time.Second        // for a client to read the last answer
	shutdownGrace = 50 * time.Millisecond  // the same when the server closes
	drainLimit    = 64 << 20               // bytes read and thrown away meanwhile
)

var (
	errUnsent = errors.New("jsonrpc: too many answers unread")
	errGreedy = errors.New("jsonrpc: out of memory budget, and this connection held most")
)

func newConn(s *Server, nc net.Conn) *Conn {
	c := &Conn{srv: s, remote: nc.RemoteAddr(), nc: nc, port: plainPort, in: NewReader(nc, s.limits.MaxLine), names: make(names), depth: MaxDepth, moved: time.Now()}
	c.changed.L = &c.mu
	c.pauseAt = -1
	c.in.spare = s.spare
	c.in.room = c.room
	c.in.look, c.in.lull = c.begins, c.lull
	if s.Security == nil {
		c.out.direct = NewTryWriter(nc)
	}
	return c
}

// lull bounds reads by lullTime, or no more. It leaves the deadline alone that wake has set, and then reports false.
func (c *Conn) lull(on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return false
	}
	var deadline time.Time
	if on {
		deadline = time.Now().Add(lullTime)
	}
	_ = c.nc.SetReadDeadline(deadline)
	return true
}

// room reserves what the reader is going to hold.
func (c *Conn) room(n int) error {
	c.mu.Lock()
	c.moved = time.Now() // a long line is on its way
	c.mu.Unlock()
	return c.srv.budget.read(c, n)
}

// RemoteAddr is the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// NetConn is the connection that the Conn reads and writes: over a Server's Security, the secure one. Leave reading, writing and
// closing it to the Conn.
func (c *Conn) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

// SetValue attaches any value to the connection, such as who the client is.
func (c *Conn) SetValue(v any) { c.value.Store(&v) }

// Value returns what SetValue attached last, nil if nothing.
func (c *Conn) Value() any {
	if p := c.value.Load(); p != nil {
		return *p
	}
	return nil
}

// ReadQuietly has a plain socket read past Go's scheduler, where the system has a way to do that: a server with nothing to do
// wakes one thread less up for what its connection brings. It must be called by Handler. NB: not for clients:
// that thread also sees to it that nobody computes for long while others wait.
func (c *Conn) ReadQuietly() { c.in.src = readerOf(c.nc) }

// SetMaxLine sets the limit, in bytes, for the lines that the handler has not been given yet.
func (c *Conn) SetMaxLine(n int) { c.in.SetMaxLine(n) }

// SetMaxDepth sets how deep the lines may nest that the handler has not been given yet, MaxDepth at first. Only the
// handler may call it.
func (c *Conn) SetMaxDepth(n int) { c.depth = n }

// Exempt takes the connection out of the server's Budget and MaxConns: it is neither paused nor closed for them. For
// clients that are trusted and that others wait for. Its own limits stay.
func (c *Conn) Exempt() {
	c.mu.Lock()
	c.exempt = true
	c.srv.budget.trust(c)
	c.unlock()
}

// Gone tells whether the connection was cut off or closed: then no answer is sent any more.
func (c *Conn) Gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == dead
}

// Close lets the connection end: no more requests are read, what was answered until now is sent if the client takes it
// within five seconds, then it is closed. It does not wait for that.
func (c *Conn) Close() { c.close(closeGrace) }

func (c *Conn) close(grace time.Duration) {
	c.mu.Lock()
	if c.state < closing {
		c.state = closing
		c.grace = grace
	}
	c.grace = min(c.grace, grace)
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.grace))
	c.wake()
	c.unlock()
}

// cut ends the connection at once. The reader then closes the socket: Close may block where the connection is no plain
// socket, and cut is called from where nothing may.
func (c *Conn) cut(cause error) {
	c.mu.Lock()
	c.cutLocked(cause)
	c.unlock()
}

func (c *Conn) cutLocked(cause error) {
	if c.state == dead {
		return
	}
	c.state, c.cause = dead, cause
	c.out.drop()
	_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
	c.wake()
}

// wake makes the reader look at the state, wherever it waits. The caller holds mu.
func (c *Conn) wake() {
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	c.changed.Broadcast()
	c.srv.budget.cut(c)
}

// reserve tells the budget of an answer that is about to be copied. If the budget is passed somebody is cut off for
// it, maybe c itself. The caller holds mu.
func (c *Conn) reserve(n int) {
	if c.exempt {
		return
	}
	c.told.unsent += n
	switch greediest := c.srv.budget.settle(c, n, 0, 0); greediest {
	case nil:
	case c:
		c.cutLocked(errGreedy)
	default:
		c.doomed = greediest
	}
}

// unlock tells the budget what has changed, and unlocks. If the budget is passed it cuts off the connection that holds
// most, which may be another one: hence after the unlock.
func (c *Conn) unlock() {
	doomed := [2]*Conn{c.doomed, c.settle()}
	c.doomed = nil
	c.mu.Unlock()
	for _, other := range doomed {
		if other != nil {
			other.cut(errGreedy)
		}
	}
}

// settle tells the budget what has changed, if it is worth the budget's lock: what it does not know is below 4 KiB of
// answers, and an eighth of the requests.
func (c *Conn) settle() (greediest *Conn) {
	now := tally{c.out.held(), c.pinned, c.requests}
	if c.stalled {
		now.unsent, now.underway = now.unsent+now.underway, 0
	}
	unsent, underway, requests := now.unsent-c.told.unsent, now.underway-c.told.underway, now.requests-c.told.requests
	few := unsent > -4096 && unsent < 4096 && underway == 0
	if c.exempt || few && (requests == 0 || c.requests > 0 && -requests <= c.requests/8) {
		return nil
	}
	c.told = now
	return c.srv.budget.settle(c, unsent, underway, requests)
}
