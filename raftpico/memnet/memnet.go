// Package memnet is a network in memory, for tests of what runs on raftpico: servers without ports, whose links can be
// cut and mended. A test of a whole cluster takes five lines:
//
//	func TestTheSumOutlivesItsLeader(t *testing.T) {
//		c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })
//		c.Isolate(c.Leader().Addr())
//		sum, err := c.Leader().Apply(t.Context(), machine.Command, 5) // the two others have elected one
//		...
//	}
//
// [Start] makes such a cluster. [Network] is what it is made of, for tests that need other options.
package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Network joins listeners and those who dial, by the addresses they go by: each is any host:port, and stands for a
// host of its own. Its methods may be called from any goroutine. The zero value is ready.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	links     map[*link]struct{} // the connections that have an open end
	cuts      map[[2]string]bool
	isolated  map[string]bool
	healed    chan struct{} // closed by the next Heal; nil where nobody waits for it
}

// Addr is the address of one side.
type Addr string

// Network returns "mem".
func (a Addr) Network() string { return "mem" }

// String returns the host:port.
func (a Addr) String() string { return string(a) }

// Listen listens at addr, for raftpico.Options.Listener. It is an error while somebody else does.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: Addr(addr), Err: syscall.EADDRINUSE}
	}
	l := &listener{net: n, addr: addr, backlog: make(chan *conn, 128), closed: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = map[string]*listener{}
	}
	n.listeners[addr] = l
	return l, nil
}

// Dialer dials for the one at address from, for raftpico.Options.Dial. Clients take an address of their own, such as
// "client:1". A dial of an address where nobody listens is refused. One that a cut is in the way of waits until it is
// mended, or ctx ends.
func (n *Network) Dialer(from string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		c, err := n.dial(ctx, from, addr)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "mem", Source: Addr(from), Addr: Addr(addr), Err: err}
		}
		return c, nil
	}
}

func (n *Network) dial(ctx context.Context, from, to string) (*conn, error) {
	for {
		l, c, healed := n.connect(from, to)
		switch {
		case healed != nil:
			select {
			case <-healed:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case l == nil:
			return nil, syscall.ECONNREFUSED
		}
		select {
		case l.backlog <- c.link.ends[1]:
			return c, nil
		case <-l.closed:
			_ = c.Close()
			return nil, syscall.ECONNREFUSED
		case <-ctx.Done():
			_ = c.Close()
			return nil, ctx.Err()
		}
	}
}

// connect makes a connection. If a cut is in the way, it returns what is closed at the next Heal instead; if nobody
// listens, nothing.
func (n *Network) connect(from, to string) (l *listener, c *conn, healed chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut(from, to) {
		if n.healed == nil {
			n.healed = make(chan struct{})
		}
		return nil, nil, n.healed
	}
	l = n.listeners[to]
	if l == nil {
		return nil, nil, nil
	}
	k := newLink(n, from, to)
	if n.links == nil {
		n.links = map[*link]struct{}{}
	}
	n.links[k] = struct{}{}
	return l, k.ends[0], nil
}

// Cut separates two addresses. As with a cable that is cut, nobody is told: what is said from now on, and what has
// not yet been read, waits for [Network.Heal], and so does the news that the other side has closed its end.
func (n *Network) Cut(a, b string) {
	n.change(func() {
		if n.cuts == nil {
			n.cuts = map[[2]string]bool{}
		}
		n.cuts[pair(a, b)] = true
	})
}

// Isolate separates an address from all others.
func (n *Network) Isolate(addr string) {
	n.change(func() {
		if n.isolated == nil {
			n.isolated = map[string]bool{}
		}
		n.isolated[addr] = true
	})
}

// Heal mends all that was cut. Connections that both sides still keep go on where they were.
func (n *Network) Heal() {
	n.change(func() {
		n.cuts, n.isolated = nil, nil
		if n.healed != nil {
			close(n.healed)
			n.healed = nil
		}
	})
}

// Connected tells whether nothing separates two addresses.
func (n *Network) Connected(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut(a, b)
}

// change makes a change of the cuts, and tells all connections.
func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	for k := range n.links {
		k.setCut(n.cut(string(k.ends[0].local), string(k.ends[1].local)))
	}
}

// cut tells whether two addresses are separated. The caller holds mu.
func (n *Network) cut(a, b string) bool {
	return a != b && (n.isolated[a] || n.isolated[b] || n.cuts[pair(a, b)])
}

func (n *Network) forget(k *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, k)
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// listener is a net.Listener.
type listener struct {
	net     *Network
	addr    string
	backlog chan *conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // also if somebody waits
		return nil, l.failure()
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, l.failure()
	}
}

func (l *listener) failure() error {
	return fmt.Errorf("memnet: accept at %s: %w", l.addr, net.ErrClosed)
}

// Close frees the address. Connections that nobody has accepted are closed.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
		close(l.closed)
	})
	for {
		select {
		case c := <-l.backlog:
			_ = c.Close()
		default:
			return nil
		}
	}
}

func (l *listener) Addr() net.Addr { return Addr(l.addr) }
