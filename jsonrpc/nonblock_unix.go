//go:build unix

package jsonrpc

import (
	"errors"
	"net"
	"syscall"
)

// trier writes to a socket what the kernel takes at once.
//
// NB: a blocked net.Conn.Write holds the lock that try needs. So try must not be called while one is at work.
type trier struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // made once, since it escapes
	p     []byte
	n     int
	err   error
}

// newTrier returns nil for what is no plain socket. NB: a type that embeds one, and wraps its Write, must not be bypassed;
// hence the concrete types.
func newTrier(nc net.Conn) *trier {
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
	t := &trier{raw: raw}
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

// try returns how many bytes of p were written, 0 <= n <= len(p). That they are not all is no error.
func (t *trier) try(p []byte) (int, error) {
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
