package jsonrpc

import (
	"context"
	"net"
)

// Converse serves a connection that no listener has accepted, such as the body of an HTTP request and its answer. It counts as
// any other connection does, and ends as they do: when nothing more comes and all is answered, or by Conn.Close, or when it is
// cut off. When ctx ends, it is cut off at once.
//
// The server's Security is not spoken over nc. Value is what Conn.Value returns at first. Unlike others the connection need not begin with JSON: whoever calls this has
// kept web pages away. Read deadlines that are still to come are no more than a wish to look again.
//
// Converse returns when nc is closed and nothing touches it any more. It reports whether everything that came was answered,
// and the answers were taken.
func (s *Server) Converse(ctx context.Context, nc net.Conn, value any) (whole bool) {
	s.init()
	c, _ := s.admit(nc, func(c *Conn) {
		c.over = make(chan struct{})
		c.begun, c.in.look = true, nil
		c.SetValue(value)
	})
	if c == nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { c.cut(nil) })
	defer stop()
	<-c.over
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole
}
