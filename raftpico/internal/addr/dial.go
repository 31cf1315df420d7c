package addr

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// turn is how long an address of a name has the dial to itself, before the next one is tried beside it.
const turn = 250 * time.Millisecond

// Dial connects to host:port, as net.Dialer does, except for a name that has several addresses. It begins with any of them, and the
// first that takes the connection wins. So a dead one holds up nobody, though links dial for a second only, which net.Dialer would
// give to the first address alone. And where one of them is another server's, the next dial may lead to the right one.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return d.DialContext(ctx, network, addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return d.DialContext(ctx, network, addr)
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	rand.Shuffle(len(found), func(i, k int) { found[i], found[k] = found[k], found[i] })
	for i := range found {
		found[i] = net.JoinHostPort(found[i], port)
	}
	return race(ctx, found, func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, network, addr) })
}

// race dials addresses, at least one, and returns the first connection, or the first error if there is none. It leaves no
// connection and no goroutine behind: these end with their dials, which heed ctx.
func race(ctx context.Context, addrs []string, dial func(ctx context.Context, addr string) (net.Conn, error)) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	begin := func(addr string) {
		conn, err := dial(ctx, addr)
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close() // another one has won, or nobody waits any more
			}
		}
	}
	var first error
	next := time.NewTimer(0)
	defer next.Stop()
	for begun, ended := 0, 0; ended < len(addrs); {
		select {
		case <-next.C:
			if begun < len(addrs) {
				go begin(addrs[begun])
				begun++
				next.Reset(turn)
			}
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			ended++
			next.Reset(0)
		case <-ctx.Done():
			if first == nil {
				first = ctx.Err()
			}
			return nil, first
		}
	}
	return nil, first
}
