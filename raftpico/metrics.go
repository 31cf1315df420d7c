package raftpico

import (
	"context"
	"net"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/front"
)

// What a server counts, in the words of package api.
type (
	Metrics           = api.Metrics           // how a server is, and what it has counted since it started
	MemberMetrics     = api.MemberMetrics     // a member as the server sees it
	RequestCount      = api.RequestCount      // requests of a method that were answered alike
	RequestTime       = api.RequestTime       // how long those of a method took
	ConnectionMetrics = api.ConnectionMetrics // the connections
	Histogram         = api.Histogram         // durations by how long they were
)

// Metrics is how the server is, and what it has counted. It asks nothing of the server, and costs it some microseconds. It waits for
// a turn of the event loop, but not for the disk; after a second it returns the last figures, with their Age. It may be called
// after the server has ended.
func (s *Server) Metrics() Metrics {
	m, c := s.loop.Metrics(), s.front.Stats()
	m.Connections = ConnectionMetrics{Open: c.Conns, Accepted: c.Accepted, Refused: c.Refused, GaveWay: c.GaveWay, CutOff: c.CutOff,
		HeldBytes: c.Held, UnderwayBytes: c.Underway, BudgetBytes: s.opts.Limits.Budget / 2}
	for _, lines := range []RequestCount{{Code: jsonrpc.ErrParse.Code, Count: c.Unparsed}, {Code: jsonrpc.ErrInvalidRequest.Code, Count: c.Invalid}} {
		if lines.Count > 0 {
			m.Requests = append(m.Requests, lines)
		}
	}
	m.DroppedLogs = s.logs.Dropped()
	return m
}

// ConnOptions say how ServeConn serves a connection.
type ConnOptions struct {
	// Authorize, if not nil, is asked for each request, by its method, when Options.Authorize has permitted it. An error refuses it by
	// ErrNotPermitted, with the error's text as the reason. It is called by one goroutine at a time, and must not panic.
	Authorize func(method string) error
}

// ServeConn serves a client whose connection has come another way than over the Listener, such as the body of an HTTP request and
// its answer (package web). It is bounded as any other connection, and counts as one. It ends, as they do, when nothing more
// comes and all is answered; when conn breaks; or when the server ends. When ctx ends, it is cut off at once, and its requests
// are given up as those of a connection that broke.
//
// Other servers can't come this way. The connection need not begin with JSON: whoever calls ServeConn keeps web pages away. Deadlines
// that the server sets must end a Read or a Write that waits, if they have passed; others bound how long a client may take.
//
// Options.TLS is not spoken over conn. Who is at its other end, for Options.Authorize, conn tells as a [Security]'s connections do.
//
// ServeConn returns when nothing touches conn any more, and has closed it. It reports whether all that came was answered, and the
// answers were written.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn, o ConnOptions) (whole bool) {
	return s.front.Converse(ctx, conn, front.Visitor{Authorize: o.Authorize})
}

// HistogramBound is the longest duration that bucket i of a [Histogram] counts, from 8 µs to 33.6 s. The last bucket has no bound: 0.
func HistogramBound(i int) time.Duration { return api.HistogramBound(i) }
