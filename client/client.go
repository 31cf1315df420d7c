package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
)

// Options say how a client works. The zero value is what New uses.
type Options struct {
	// Dial, if not nil, opens the connections to servers. It must heed its context.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// TLS, if not nil, secures the connections, those of Dial too, which are plain then: package github.com/raftpico/go/secure
	// makes one of certificate files. Nil is plain TCP.
	TLS jsonrpc.Security

	// NoSessions sends Commands without a session. Then a Command whose answer was lost is not sent again: its error is
	// ErrUnknown.
	NoSessions bool

	// Silence is how long a server may say nothing while calls wait: then its connection is given up, and the calls go
	// elsewhere. A server that works answers what the client asks meanwhile, however long the calls take. Zero is 5 s.
	Silence time.Duration
}

// DefaultSilence is what a zero Options.Silence means.
const DefaultSilence = 5 * time.Second

// ErrClosed is wrapped by the errors of calls that Close has ended.
var ErrClosed = errors.New("client: closed")

// Client calls a cluster. Its methods may be called from any number of goroutines.
type Client struct {
	opts    Options
	servers servers
	pool    sessionPool
	turn    atomic.Uint64 // deals reads out to servers
	longest atomic.Int64  // the longest timeout_ms that servers have not refused, in milliseconds

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, and that nothing is started afterwards
	closed bool
	wg     sync.WaitGroup // dials and refreshes
}

// New makes a client of the cluster to which the servers at these addresses belong. One of them is enough, as long as it
// lives when the client begins: the client learns of the others. It connects when it is used, and must be closed.
func New(addrs ...string) *Client { return NewWith(Options{}, addrs...) }

// NewWith is New with options.
func NewWith(o Options, addrs ...string) *Client {
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Silence <= 0 {
		o.Silence = DefaultSilence
	}
	c := &Client{opts: o}
	c.longest.Store(longestTimeout.Milliseconds())
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.servers.init(c, addrs)
	c.pool.client, c.pool.handles = c, map[*Session]struct{}{}
	return c
}

// Close ends the client's sessions and connections. Calls under way fail with ErrClosed. When it returns, all goroutines of the
// client have ended. It waits for servers a second at most.
func (c *Client) Close() error {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	if !was {
		c.pool.close()
	}
	c.cancel()
	c.wg.Wait()
	c.servers.close()
	return nil
}

// start runs f in a goroutine that Close waits for, unless the client is closed.
func (c *Client) start(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Go(f)
	}
}

// pause waits for a while. It returns early with an error if ctx or the client ends.
func (c *Client) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}
