package client

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
)

// server is one of them.
type server struct {
	addr    string
	conns   atomic.Pointer[[]*jsonrpc.Client] // the slice does not change; nil or empty: not connected
	shunned atomic.Int64                      // until then others are asked if there are any, since servers.began

	// Guarded by servers.mu.
	dialing bool
	failed  int       // dials since the last that did not fail
	redial  time.Time // not before
	err     error     // of the last dial
}

// A server is asked over one connection, and over more when many calls wait there: servers read on when some of 16,384 are
// answered.
const (
	maxUnderway = 4096 // calls on a connection, before another one is opened
	maxConns    = 16   // to a server
)

func (s *server) all() []*jsonrpc.Client {
	if list := s.conns.Load(); list != nil {
		return *list
	}
	return nil
}

func (s *server) connected() bool { return len(s.all()) > 0 }

// conn is a connection for a call, nil if there is none. It is full if another one had better be opened.
func (s *server) conn() (conn *jsonrpc.Client, full bool) {
	least := 0
	for _, one := range s.all() {
		n := one.Underway()
		if n < maxUnderway {
			return one, false
		}
		if conn == nil || n < least {
			conn, least = one, n
		}
	}
	return conn, conn != nil
}

// idle tells that no call is under way.
func (s *server) idle() bool {
	return !slices.ContainsFunc(s.all(), func(one *jsonrpc.Client) bool { return one.Underway() > 0 })
}

// change changes the connections. The caller holds servers.mu.
func (s *server) change(f func([]*jsonrpc.Client) []*jsonrpc.Client) {
	list := f(slices.Clone(s.all()))
	s.conns.Store(&list)
}

// close closes all connections of a server that nobody is to be sent to any more.
func (s *server) close() {
	list := s.all()
	s.conns.Store(nil)
	for _, one := range list {
		_ = one.Close()
	}
}
