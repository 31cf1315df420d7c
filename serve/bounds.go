package serve

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// What HTTP clients can hold up, or take from the servers of this process, is bounded here: the descriptors of connections, and
// how long a body may take to come, and an answer to be read. A request that waits for its answer is not bounded.

const (
	bodyPatience   = 30 * time.Second // for a body, and a second more for each bodyRate bytes of it
	bodyRate       = 16 << 10         // bytes
	answerPatience = 30 * time.Second // for the client to take answerPiece of its answer
	answerPiece    = 64 << 10         // bytes
)

// bounded is a listener whose connections take a place in a room each. Newcomers wait for one: see room.go. A write fails when the client takes
// nothing for a while.
type bounded struct {
	net.Listener
	room     *room
	patience time.Duration
	closed   chan struct{}
	end      func()
}

func newBounded(l net.Listener, room *room, patience time.Duration) *bounded {
	b := &bounded{Listener: l, room: room, patience: patience, closed: make(chan struct{})}
	b.end = sync.OnceFunc(func() { close(b.closed) })
	return b
}

func (b *bounded) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !b.room.take(b.closed) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	c := &boundedConn{Conn: conn, patience: b.patience, room: b.room}
	c.leave = sync.OnceFunc(func() { b.room.leave(c) })
	return c, nil
}

func (b *bounded) Close() error {
	b.end()
	return b.Listener.Close()
}

type boundedConn struct {
	net.Conn
	patience time.Duration
	room     *room
	leave    func()
	writing  atomic.Bool
	hijacked bool // owner: the handler's goroutine
	gone     bool // it is closed, or about to be; guarded by room.mu
}

func (c *boundedConn) Write(p []byte) (written int, err error) {
	c.writing.Store(true)
	defer c.writing.Store(false)
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[:min(len(p), answerPiece)])
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// CloseWrite is for the http.Server, which lets a client read an answer whose request it does not read to its end.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// boundBodies bounds how long the body of a request may take to come, also one that the handler does not read: the http.Server reads
// it then. An http.Server's ReadTimeout would end requests that wait, too.
func boundBodies(next http.Handler, patience time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		b := &boundedBody{ReadCloser: r.Body, conn: http.NewResponseController(w), due: time.Now().Add(patience)}
		b.of, _ = r.Context().Value(connKey{}).(*boundedConn)
		_ = b.conn.SetReadDeadline(b.due) // an http.Server's connections have one
		copied := *r                      // the http.Server looks at r.Body itself
		copied.Body = b
		next.ServeHTTP(w, &copied)
	})
}

type boundedBody struct {
	io.ReadCloser
	conn *http.ResponseController
	due  time.Time
	of   *boundedConn // nil: it is not known
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.of != nil {
		b.of.room.waits(b.of, true)
	}
	n, err := b.ReadCloser.Read(p)
	if b.of != nil && !b.of.room.waits(b.of, false) {
		return 0, net.ErrClosed // it has given way
	}
	b.due = b.due.Add(time.Duration(n) * time.Second / bodyRate)
	due := b.due
	if err == io.EOF {
		due = time.Time{} // the request may wait
	}
	_ = b.conn.SetReadDeadline(due)
	return n, err
}
