//go:build unix

package jsonrpc

import (
	"errors"
	"net"
	"syscall"
)

// TryWriter writes to a socket what the kernel takes at once. One goroutine may use it at a time.
//
// NB: a blocked net.Conn.Write holds the lock that Try needs. So Try must not be called while one is at work.
type TryWriter struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // made once, since it escapes
	p     []byte
	n     int
	err   error
}

// NewTryWriter returns nil for what is no plain socket. NB: a type that embeds one, and wraps its Write, must not be bypassed;
// hence the concrete types.
func NewTryWriter(nc net.Conn) *TryWriter {
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
	t := &TryWriter{raw: raw}
	t.write = func(fd uintptr) bool {
		for {
			t.n, t.err = syscall.Write(int(fd), t.p)
			if t.err != syscall.EINTR {
				return true // whatever came out: don't wait
			}
		}
	}
	return t
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
