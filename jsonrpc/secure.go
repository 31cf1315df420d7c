package jsonrpc

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// Security makes the connections of a Server, and those to one, secure. Package secure has one of TLS. Its methods may be called
// from any goroutine.
type Security interface {
	// Server is the accepting side over conn. It does nothing yet. To close it closes conn.
	Server(conn net.Conn) SecureConn

	// Client is the dialling side over conn, which was dialled at addr, a host:port. It returns when both sides know each
	// other. If there is an error, such as that of ctx, conn is closed.
	Client(ctx context.Context, conn net.Conn, addr string) (net.Conn, error)
}

// SecureConn is a connection that has a handshake before it can be used; a *tls.Conn is one. The handshake may be ended by a deadline
// of the connection under it.
type SecureConn interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
}

// Identified is a connection that knows who is at its other end: a secure one after its handshake, or one that a listener hands to a
// Server so, which then needs no Security. Identity is what is known, nil if nothing is; server tells whether it is one of a server's.
type Identified interface {
	Identify() (identity any, server bool)
}

// Secure is the dialling side over conn: what s makes of it, and conn itself if s is nil.
func Secure(ctx context.Context, s Security, conn net.Conn, addr string) (net.Conn, error) {
	if s == nil {
		return conn, nil
	}
	return s.Client(ctx, conn, addr)
}

const (
	handshakePatience = 10 * time.Second // for a client to make itself known
	maxHandshake      = 64 << 10         // bytes that it may send for that
	tlsHandshake      = 22               // the type of a first record (RFC 8446 §5.1)
)

var (
	errSlowHandshake = errors.New("jsonrpc: the handshake took too long")
	errLongHandshake = errors.New("jsonrpc: the handshake is too long")
)

// handshakeError is why a client was not let in. It has been told.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "jsonrpc: handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// enter lets the two sides know each other, where the server has a Security. The connection's reader calls it, first of all. A
// client that speaks something else is read on as it is, and told so: see foreign.
func (c *Conn) enter() error {
	s := c.srv.Security
	if s == nil {
		return nil
	}
	if _, already := c.nc.(Identified); already {
		c.port = securePort
		return nil
	}
	e := &entry{Conn: c.nc, hold: c.in.hold}
	c.become(e, e)
	limit := time.AfterFunc(c.srv.patience, func() { c.cut(errSlowHandshake) })
	defer limit.Stop()
	if _, err := io.ReadFull(e, e.first[:]); err != nil {
		return err
	}
	e.again = e.first[:]
	if e.first[0] != tlsHandshake {
		e.known = true
		c.port = unsecured
		return nil
	}
	secure := s.Server(e)
	if err := secure.HandshakeContext(context.Background()); err != nil {
		_ = c.in.hold(0) // to give back can't fail
		if !hungUp(err) {
			c.srv.tell("jsonrpc: a client was not let in", "remote", c.remote, "err", err)
		}
		return &handshakeError{err}
	}
	e.known = true
	_ = c.in.hold(0)
	c.become(secure, secure)
	c.port = securePort
	return nil
}

// become lets nc take the place of the connection. The reader calls it, before anything is written.
func (c *Conn) become(nc net.Conn, src io.Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc, c.in.src = nc, src
}

// hungUp tells whether a client has gone, or said nothing, rather than shown something wrong: whoever looks whether a port is open does.
func hungUp(err error) bool {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// entry is the connection under a secure one. It gives the first byte again, and bounds what is read until the client is known. Owner: the
// reader, but for what it embeds.
type entry struct {
	net.Conn
	first [1]byte
	again []byte            // of first, to be given
	known bool              // nothing is counted any more
	came  int               // bytes
	hold  func(n int) error // has the budget count them
}

func (e *entry) Read(b []byte) (int, error) {
	if len(e.again) > 0 && len(b) > 0 {
		n := copy(b, e.again)
		e.again = e.again[n:]
		return n, nil
	}
	n, err := e.Conn.Read(b)
	if e.known || n == 0 {
		return n, err
	}
	if e.came += n; e.came > maxHandshake {
		return 0, errLongHandshake
	}
	if full := e.hold(e.came); full != nil {
		return 0, full
	}
	return n, err
}

// CloseWrite is for linger.
func (e *entry) CloseWrite() error {
	if half, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
