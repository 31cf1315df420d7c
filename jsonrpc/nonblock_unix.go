//go:build unix

package jsonrpc

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// TryWriter writes to a socket what the kernel takes at once. One goroutine may use it at a time.
//
// NB: a blocked net.Conn.Write holds the lock that Try needs. So Try must not be called while one is at work.
type TryWriter struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // made once, since it escapes
	quiet bool
	p     []byte
	n     int
	err   error
}

// NewTryWriter returns nil for what is no plain socket.
func NewTryWriter(nc net.Conn) *TryWriter {
	raw := plainSocket(nc)
	if raw == nil {
		return nil
	}
	t := &TryWriter{raw: raw}
	t.write = func(fd uintptr) bool {
		for {
			if t.quiet {
				t.n, t.err = writeNow(fd, t.p)
			} else {
				t.n, t.err = syscall.Write(int(fd), t.p)
			}
			if t.err != syscall.EINTR {
				return true // whatever came out: don't wait
			}
		}
	}
	return t
}

// Quietly returns t, which from now on goes past Go's scheduler where it can: a server with nothing to do wakes one thread less
// up. NB: That thread keeps a processor awake while a client asks for one thing at a time, so answers to clients are not
// written so: local queries, one under way, took a third longer.
func (t *TryWriter) Quietly() *TryWriter {
	if t != nil {
		t.quiet = true
	}
	return t
}

// plainSocket returns nil for what is none. NB: a type that embeds one, and wraps its Read or Write, must not be bypassed; hence
// the concrete types.
func plainSocket(nc net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch s := nc.(type) {
	case *net.TCPConn:
		raw, err = s.SyscallConn()
	case *net.UnixConn:
		raw, err = s.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	return raw
}

// Try returns how many bytes of p were written, 0 <= n <= len(p). That they are not all is no error.
func (t *TryWriter) Try(p []byte) (int, error) {
	t.p, t.n, t.err = p, 0, nil
	err := t.raw.Write(t.write)
	t.p = nil
	if err == nil {
		err = t.err
	}
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return max(t.n, 0), err
}

// socketReader reads from a socket as its Read does, with readNow. One goroutine may use it at a time.
type socketReader struct {
	nc   net.Conn
	raw  syscall.RawConn
	read func(fd uintptr) bool // made once, since it escapes
	p    []byte
	n    int
	err  error
}

// readerOf is what reads from a connection: a socketReader, or the connection where it is no plain socket.
func readerOf(nc net.Conn) io.Reader {
	raw := plainSocket(nc)
	if raw == nil {
		return nc
	}
	r := &socketReader{nc: nc, raw: raw}
	r.read = func(fd uintptr) bool {
		for {
			r.n, r.err = readNow(fd, r.p)
			if r.err != syscall.EINTR {
				return r.err != syscall.EAGAIN // if so, it is called again when something has come
			}
		}
	}
	return r
}

// Read implements io.Reader. Deadlines are those of the connection.
func (r *socketReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.p, r.n, r.err = p, 0, nil
	err := r.raw.Read(r.read)
	r.p = nil
	switch {
	case err != nil:
		return 0, err
	case r.err != nil:
		return 0, &net.OpError{Op: "read", Net: r.nc.RemoteAddr().Network(), Source: r.nc.LocalAddr(), Addr: r.nc.RemoteAddr(), Err: os.NewSyscallError("read", r.err)}
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}
