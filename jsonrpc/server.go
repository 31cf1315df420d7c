package jsonrpc

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Server serves JSON-RPC on TCP connections. Set the fields, then call Serve; the fields must not be changed
// afterwards.
//
// Goroutines: one for each Serve (the caller's) that accepts, one for each connection that reads and calls the handler,
// and one more for each connection whose client is slower than its answers.
type Server struct {
	// Handler is given the requests of a connection, those that were read at once, in the order sent; at least one. It
	// owns the slice. It answers each of them, now or later, from any goroutine and in any order, and then flushes the
	// connection. It is called from the connection's reader: until it returns nothing more is read from that
	// connection, but for Relieve.
	Handler func(calls []Call)

	// Closed is called when a connection is closed, once, after the last call of Handler for it. May be nil.
	Closed func(*Conn)

	// Security, if not nil, is what clients must speak, and what makes them known, before anything of theirs is read.
	Security Security

	Limits Limits
	Logger *slog.Logger // nil: slog.Default()

	patience time.Duration // for a handshake; zero: handshakePatience. For tests

	once   sync.Once
	limits Limits // with defaults
	log    *slog.Logger
	budget *budget
	spare  buffers

	mu        sync.Mutex                 // guards what follows
	listeners map[*net.Listener]struct{} // pointers, since a listener need not be comparable
	conns     map[*Conn]struct{}
	warned    map[string]time.Time // when something was logged last, by the message
	counts    counts
	left      chan struct{} // capacity 1: a connection has gone
	last      atomic.Bool   // only those are admitted that have connected already
	draining  chan struct{} // not nil: Shutdown was called, and no connection comes any more; closed when none is left
	done      chan struct{}
	wg        sync.WaitGroup // Serve and the readers
}

func (s *Server) init() {
	s.once.Do(func() {
		files := maxFiles()
		s.limits = s.Limits.filled(files)
		if s.log = s.Logger; s.log == nil {
			s.log = slog.Default()
		}
		if s.patience == 0 {
			s.patience = handshakePatience
		}
		if want := s.Limits.filled(math.MaxInt32).MaxConns; s.limits.MaxConns < min(want, fewConns) {
			s.log.Warn("jsonrpc: few connections at once, for the process may open few files: raise the limit (ulimit -n)",
				"connections", s.limits.MaxConns, "files", files)
		}
		s.budget = newBudget(s.limits.Budget, s.limits.MaxRequests)
		s.spare = make(buffers, 64)
		s.listeners = make(map[*net.Listener]struct{})
		s.conns = make(map[*Conn]struct{})
		s.warned = make(map[string]time.Time)
		s.left = make(chan struct{}, 1)
		s.done = make(chan struct{})
	})
}

// fewConns are so few connections that an operator should know.
const fewConns = 500

// Serve accepts connections and serves them until Close, then it returns nil; or until the listener fails, which it
// closes in any case. Lack of file descriptors is no failure: a connection that is idle is closed, or else it waits
// and goes on.
func (s *Server) Serve(ln net.Listener) error {
	s.init()
	defer ln.Close()
	s.mu.Lock()
	if s.closed() {
		s.mu.Unlock()
		return nil
	}
	s.listeners[&ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, &ln)
		s.mu.Unlock()
	}()

	var backoff time.Duration
	for {
		nc, err := ln.Accept()
		if err == nil {
			backoff = 0
			if _, full := s.admit(nc, nil); full {
				s.awaitRoom()
			}
			continue
		}
		if s.ending() || s.last.Load() {
			return nil
		}
		if _, ok := errors.AsType[syscall.Errno](err); !ok {
			return err
		}
		if outOfFiles(err) && s.giveWay(err) {
			backoff = 0
			s.awaitRoom()
			continue
		}
		if backoff == 0 {
			backoff = 2500 * time.Microsecond
			s.log.Warn("jsonrpc: accept failed, trying again", "err", err)
		}
		backoff = min(2*backoff, time.Second)
		select {
		case <-time.After(backoff):
		case <-s.left:
		case <-s.done:
		}
	}
}

// acceptGrace is how long connections are accepted that came before Shutdown.
const acceptGrace = 2 * time.Millisecond

// Shutdown closes the listeners, goes on serving connections for as long as grace or until none is left, and then is
// like Close. So a client whose request was on its way is told that the server refuses it, if the handler says so.
func (s *Server) Shutdown(grace time.Duration) error {
	s.init()
	s.mu.Lock()
	if s.last.Swap(true) {
		s.mu.Unlock()
		return s.Close()
	}
	for ln := range s.listeners { // who has connected already must be told, not reset
		if d, ok := (*ln).(interface{ SetDeadline(time.Time) error }); ok {
			_ = d.SetDeadline(time.Now().Add(acceptGrace))
		}
	}
	s.mu.Unlock()
	time.Sleep(acceptGrace)
	s.mu.Lock()
	s.draining = make(chan struct{})
	for ln := range s.listeners {
		_ = (*ln).Close()
	}
	if len(s.conns) == 0 {
		close(s.draining)
	}
	s.mu.Unlock()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.draining:
	}
	return s.Close()
}

// Close closes the listeners and the connections, and waits until every goroutine has ended. Clients have 50 ms to take
// what was answered before.
func (s *Server) Close() error {
	s.init()
	s.mu.Lock()
	if !s.closed() {
		close(s.done)
	}
	for ln := range s.listeners {
		_ = (*ln).Close()
	}
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.close(shutdownGrace)
	}
	s.wg.Wait()
	return nil
}

// ending tells whether Shutdown or Close was called.
func (s *Server) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining != nil || s.closed()
}

func (s *Server) closed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// admit starts serving a connection, unless there are too many: then c is nil. It reports whether another one was cut off for
// it. Prepare may be nil.
func (s *Server) admit(nc net.Conn, prepare func(*Conn)) (c *Conn, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full = len(s.conns) >= s.limits.MaxConns; full {
		s.warn("jsonrpc: too many connections", "limit", s.limits.MaxConns, "remote", nc.RemoteAddr())
	}
	if s.draining != nil || s.closed() || full && !s.makeRoom() {
		s.counts.refused++
		_ = nc.Close()
		return nil, false
	}
	s.counts.accepted++
	c = newConn(s, nc)
	if prepare != nil {
		prepare(c)
	}
	s.conns[c] = struct{}{}
	s.budget.join(c)
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		c.serve(0)
	}()
	return c, full
}

// gone forgets a connection that was closed, by the server for a cause if that is not nil.
func (s *Server) gone(c *Conn, cause error) {
	s.budget.free(c)
	s.mu.Lock()
	delete(s.conns, c)
	if heldTooMuch(cause) {
		s.counts.cutOff++
	}
	if s.draining != nil && len(s.conns) == 0 {
		close(s.draining)
	}
	s.mu.Unlock()
	select {
	case s.left <- struct{}{}:
	default:
	}
	if heldTooMuch(cause) {
		s.log.Warn("jsonrpc: connection closed", "remote", c.RemoteAddr(), "cause", cause)
	}
	if s.Closed != nil {
		s.Closed(c)
	}
}
