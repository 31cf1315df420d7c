package web

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// exchange is an HTTP request and its answer as a connection of the server: what it reads is the body, as one line; what it writes
// is the answer. Nothing is kept in between, so a client that takes its answer slowly holds up the server as little as over TCP,
// and what it may hold is counted.
type exchange struct {
	r       *http.Request
	w       http.ResponseWriter
	conn    *http.ResponseController
	touched bool  // something was read; owner: the reader
	some    bool  // something that is no white space was; owner: the reader
	cut     error // why the body has not come whole, if it has not; owner: the reader

	mu    sync.Mutex // held while something is written
	begun bool       // the answer has
	dead  bool       // nothing is written any more

	life   sync.Mutex // guards what follows
	over   bool       // the deadlines are not the server's any more
	came   bool       // the whole body has
	broken bool       // the body was not waited for
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	return &exchange{r: r, w: w, conn: http.NewResponseController(w)}
}

// Read reads the body. A line break becomes a tab: both are white space in JSON, and neither may be in a string.
func (x *exchange) Read(p []byte) (int, error) {
	x.touched = true
	n, err := x.r.Body.Read(p)
	for i, c := range p[:n] {
		switch c {
		case '\n':
			p[i] = '\t'
		case ' ', '\t', '\r':
		default:
			x.some = true
		}
	}
	if err != nil {
		x.life.Lock()
		defer x.life.Unlock()
		x.came = true
		if err != io.EOF {
			x.cut = err
		}
	}
	return n, err
}

// Write writes a part of the answer. The spaces before it, by which a server finds out who has gone, are no part of it: an
// http.Server finds out by itself.
func (x *exchange) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dead {
		return 0, net.ErrClosed
	}
	rest := p
	if !x.begun {
		if rest = bytes.TrimLeft(p, " "); len(rest) == 0 {
			return len(p), nil
		}
		x.begun = true
		x.w.Header().Set("Content-Type", "application/json")
	}
	n, err := x.w.Write(rest)
	return len(p) - len(rest) + n, err
}

// Close ends the exchange. It waits for a Write under way, which the server has ended before.
func (x *exchange) Close() error {
	x.life.Lock()
	x.over = true
	x.life.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dead = true
	return nil
}

// settle gives the connection back to the http.Server, when nothing else touches it any more: without the deadlines of one that
// was cut off. One whose body has not come can't be used again.
func (x *exchange) settle() {
	_ = x.conn.SetWriteDeadline(time.Time{}) // where it has none it has had none
	if x.broken {
		_ = x.conn.SetReadDeadline(time.Time{})
		if !x.begun {
			x.w.Header().Set("Connection", "close")
		}
	}
}

func (x *exchange) LocalAddr() net.Addr {
	a, _ := x.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if a == nil {
		a = &net.TCPAddr{}
	}
	return a
}

// RemoteAddr is the client's, or that of a proxy.
func (x *exchange) RemoteAddr() net.Addr {
	at, err := netip.ParseAddrPort(x.r.RemoteAddr)
	if err != nil {
		return &net.TCPAddr{}
	}
	return net.TCPAddrFromAddrPort(at)
}

func (x *exchange) SetDeadline(t time.Time) error {
	if err := x.SetReadDeadline(t); err != nil {
		return err
	}
	return x.SetWriteDeadline(t)
}

// SetReadDeadline ends a Read at once if the deadline has passed. Others are for lines without an end, which a body has.
//
// NB: When the body has come, the http.Server itself reads, to find out whether the client has gone. A deadline that ends this would
// cancel the contexts of all requests that come over the connection later.
func (x *exchange) SetReadDeadline(t time.Time) error {
	if t.IsZero() || t.After(time.Now()) {
		return nil
	}
	return x.set(func(t time.Time) error {
		if x.came {
			return nil
		}
		x.broken = true
		return x.conn.SetReadDeadline(t)
	}, t)
}

func (x *exchange) SetWriteDeadline(t time.Time) error { return x.set(x.conn.SetWriteDeadline, t) }

func (x *exchange) set(deadline func(time.Time) error, t time.Time) error {
	x.life.Lock()
	defer x.life.Unlock()
	if x.over {
		return net.ErrClosed
	}
	return deadline(t)
}

// Identify tells who is at the other end, if they have shown a certificate that was verified. It is never a server.
func (x *exchange) Identify() (identity any, server bool) {
	if x.r.TLS == nil || len(x.r.TLS.VerifiedChains) == 0 {
		return nil, false
	}
	return x.r.TLS.VerifiedChains[0], false
}
