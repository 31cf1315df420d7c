package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// postFunc answers a POST with JSON. The body is its own. Ctx ends when the client has gone.
type postFunc func(ctx context.Context, path string, body []byte) (status int, answer []byte)

// kept is a listener below an http.Server, for clients that send short POSTs again and again over connections that they keep. It
// answers them itself, in half the processor time of an http.Server. All else it leaves to that: at the first request that is not
// exactly of the known form (see parsePost), Accept returns the connection, and nothing of the request is taken out.
type kept struct {
	net.Listener
	post   postFunc
	others chan net.Conn // for Accept
	failed chan error    // by the listener
	closed chan struct{}
	empty  chan struct{} // closed, and no connection is left

	mu    sync.Mutex
	conns map[*keptConn]bool // busy: a request is under way; nil when closed and empty
}

const (
	keptBuffer = 4096            // bytes of a header: a longer one is left to the http.Server
	keptBody   = 64 << 10        // bytes of a body: so is a longer one
	keptIdle   = 2 * time.Minute // then a connection without a request is closed
	keptEnd    = 5 * time.Second // so long Close waits for requests under way
)

// keep serves the connections of a listener by post. It owns the listener.
func keep(l net.Listener, post postFunc) net.Listener {
	k := &kept{Listener: l, post: post, others: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{}),
		empty: make(chan struct{}), conns: map[*keptConn]bool{}}
	go k.accept()
	return k
}

// accept takes connections until Close. Its errors are the http.Server's to judge.
func (k *kept) accept() {
	for {
		conn, err := k.Listener.Accept()
		if err == nil {
			c := newKeptConn(k, conn)
			if !k.mark(c, false) {
				_ = conn.Close()
				return
			}
			go c.serve()
			continue
		}
		select {
		case k.failed <- err:
		case <-k.closed:
			return
		}
	}
}

// Accept returns a connection that is not served here.
func (k *kept) Accept() (net.Conn, error) {
	select {
	case conn := <-k.others:
		return conn, nil
	case err := <-k.failed:
		return nil, err
	case <-k.closed:
		return nil, net.ErrClosed
	}
}

// Close ends idle connections, and waits for requests under way, but not for ever.
func (k *kept) Close() error {
	err := k.Listener.Close()
	k.mu.Lock()
	select {
	case <-k.closed:
		k.mu.Unlock()
		return err
	default:
	}
	close(k.closed)
	for c, busy := range k.conns {
		if !busy {
			_ = c.Conn.Close()
		}
	}
	if len(k.conns) == 0 {
		close(k.empty)
	}
	k.mu.Unlock()
	select {
	case <-k.empty:
		return err
	case <-time.After(keptEnd):
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		_ = c.Conn.Close()
	}
	return err
}

// mark says whether a connection is busy. It reports false if it must end instead, since the listener is closed.
func (k *kept) mark(c *keptConn, busy bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.closed:
		return false
	default:
		k.conns[c] = busy
		return true
	}
}

func (k *kept) remove(c *keptConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
	select {
	case <-k.closed:
		if len(k.conns) == 0 {
			close(k.empty)
		}
	default:
	}
}

// keptConn is a connection. One goroutine reads, so that it sees at once when the client goes; another one answers.
type keptConn struct {
	net.Conn
	kept *kept
	in   *bufio.Reader
	work chan *post    // to the one that answers
	idle chan struct{} // from it: it is through with one
}

func newKeptConn(k *kept, conn net.Conn) *keptConn {
	return &keptConn{Conn: conn, kept: k, in: bufio.NewReaderSize(conn, keptBuffer), work: make(chan *post), idle: make(chan struct{}, 1)}
}

// post is a request.
type post struct {
	path string
	body []byte
}

// serve reads requests until the client goes, or one is not ours.
func (c *keptConn) serve() {
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	go c.answer(ctx)
	_ = c.SetReadDeadline(time.Now().Add(keptIdle))
	c.idle <- struct{}{}
	for {
		p, err := c.next()
		if err != nil {
			gone()
		}
		<-c.idle
		if p == nil || !c.kept.mark(c, true) {
			close(c.work)
			c.kept.remove(c)
			if err != nil || !c.leave() {
				_ = c.Conn.Close()
			}
			return
		}
		_ = c.SetReadDeadline(time.Time{}) // until it is answered
		c.work <- p
	}
}

// leave gives the connection to the http.Server, if that still takes any.
func (c *keptConn) leave() bool {
	_ = c.SetReadDeadline(time.Time{})
	select {
	case c.kept.others <- c:
		return true
	case <-c.kept.closed:
		return false
	}
}

// Read is for the http.Server: what was read here comes first.
func (c *keptConn) Read(p []byte) (int, error) {
	if c.in.Buffered() > 0 {
		return c.in.Read(p)
	}
	return c.Conn.Read(p)
}

// next waits for a request. It returns nil without an error for one that is not ours, of which it has taken nothing.
func (c *keptConn) next() (*post, error) {
	for {
		buffered, _ := c.in.Peek(c.in.Buffered())
		path, header, body, verdict := parsePost(buffered)
		switch {
		case verdict == ours:
			p := &post{path, make([]byte, body)}
			_, _ = c.in.Discard(header)
			if _, err := io.ReadFull(c.in, p.body); err != nil {
				return nil, err
			}
			return p, nil
		case verdict == foreign || len(buffered) == keptBuffer:
			return nil, nil
		}
		if _, err := c.in.Peek(len(buffered) + 1); err != nil { // waits for more
			return nil, err
		}
	}
}

// answer carries requests out, one after the other.
func (c *keptConn) answer(ctx context.Context) {
	var out []byte
	for p := range c.work {
		status, body := c.kept.post(ctx, p.path, p.body)
		out = append(strconv.AppendInt(append(out[:0], "HTTP/1.1 "...), int64(status), 10), ' ')
		out = append(append(out, http.StatusText(status)...), "\r\nContent-Type: application/json\r\nDate: "...)
		out = time.Now().UTC().AppendFormat(out, http.TimeFormat)
		out = strconv.AppendInt(append(out, "\r\nContent-Length: "...), int64(len(body)), 10)
		out = append(out, "\r\n\r\n"...)
		if len(body) <= keptBody {
			out, body = append(out, body...), nil
		}
		if err := c.send(out, body); err != nil || !c.kept.mark(c, false) {
			_ = c.Conn.Close() // the reader sees it
		}
		_ = c.SetReadDeadline(time.Now().Add(keptIdle))
		c.idle <- struct{}{}
	}
}

// send writes an answer. A large one, which is of several megabytes at most, is not copied, and not kept for a client that does not read.
func (c *keptConn) send(out, large []byte) error {
	if len(large) == 0 {
		_, err := c.Write(out)
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(keptIdle))
	parts := net.Buffers{out, large}
	_, err := parts.WriteTo(c.Conn)
	_ = c.SetWriteDeadline(time.Time{})
	return err
}
