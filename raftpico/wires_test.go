package raftpico_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"

	"github.com/raftpico/go/raftpico"
)

// wires are a server's connections to others. A test can stop one at a line of a transfer, and cut them all.
type wires struct {
	mu    sync.Mutex
	conns map[*wireConn]bool
	cut   bool
	at    string // stop before the line of this method
	nth   int
	gate  *gate
	lines map[string]int // by method
}

func (w *wires) options(o *raftpico.Options) {
	w.conns, w.lines = map[*wireConn]bool{}, map[string]int{}
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cut {
			return nil, errors.Join(errors.New("cut"), conn.Close())
		}
		c := &wireConn{Conn: conn, wires: w, closed: make(chan struct{})}
		w.conns[c] = true
		return c, nil
	}
}

// stopAt has the next transfer stop before the n-th line of a method.
func (w *wires) stopAt(method string, n int, g *gate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.nth, w.gate = method, n, g
}

func (w *wires) setCut(cut bool) {
	w.mu.Lock()
	w.cut = cut
	var conns []*wireConn
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	for _, c := range conns {
		if cut {
			_ = c.Close()
		}
	}
}

func (w *wires) count(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines[method]
}

type wireConn struct {
	net.Conn
	wires  *wires
	once   sync.Once
	closed chan struct{}
}

func (c *wireConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.wires.mu.Lock()
	delete(c.wires.conns, c)
	c.wires.mu.Unlock()
	return c.Conn.Close()
}

// methodOf is the method of a request that begins with b.
func methodOf(b []byte) string {
	name, found := bytes.CutPrefix(b, []byte(`{"jsonrpc":"2.0","method":"raftpico.`))
	if !found {
		return ""
	}
	name, _, _ = bytes.Cut(name, []byte(`"`))
	return string(name)
}

func (c *wireConn) Write(b []byte) (int, error) {
	if method := methodOf(b); method != "" {
		c.wires.mu.Lock()
		c.wires.lines[method]++
		var g *gate
		if method == c.wires.at {
			if c.wires.nth--; c.wires.nth == 0 {
				g, c.wires.gate, c.wires.at = c.wires.gate, nil, ""
			}
		}
		c.wires.mu.Unlock()
		if g != nil {
			close(g.reached)
			select {
			case <-g.opened:
			case <-c.closed:
			}
		}
	}
	return c.Conn.Write(b)
}
