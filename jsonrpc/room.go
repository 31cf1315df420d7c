package jsonrpc

import "time"

// Room for newcomers. Who opens connections and leaves them idle must shut nobody out: neither where MaxConns is
// reached nor where the process runs out of file descriptors. So the connection that has been idle longest gives way.

const (
	stalled   = 10 * time.Second      // a client that has taken nothing of its answers for so long counts as idle
	looked    = 64                    // connections that are looked at for the one idle longest, if one is idle at all
	leaving   = 50 * time.Millisecond // how long a newcomer's place is waited for
	warnEvery = time.Minute
)

// idleSince tells since when nothing has come or gone on a connection whose client waits for nothing, or takes
// nothing. One that is Exempt is never idle; one that only waits for its client to close is, and
// one with nothing but detached requests.
func (c *Conn) idleSince(now time.Time) (since time.Time, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == dead, c.exempt, c.requests > 0, c.decoding:
		return since, false
	case c.out.unsent() > 0 && now.Sub(c.moved) < stalled:
		return since, false
	}
	return c.moved, true
}

// makeRoom cuts off a connection that is idle, if there is one. The caller holds mu.
//
// NB: nothing is lost. Its answers are with the kernel already, which goes on sending them.
func (s *Server) makeRoom() bool {
	now := time.Now()
	var oldest *Conn
	var since time.Time
	seen := 0
	for c := range s.conns { // in any order
		if at, idle := c.idleSince(now); idle && (oldest == nil || at.Before(since)) {
			oldest, since = c, at
		}
		if seen++; seen >= looked && oldest != nil {
			break
		}
	}
	if oldest == nil {
		return false
	}
	select {
	case <-s.left: // an earlier one
	default:
	}
	s.counts.gaveWay++
	oldest.cut(nil)
	return true
}

// giveWay is what is done when no connection could be accepted for want of a file descriptor.
func (s *Server) giveWay(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warn("jsonrpc: out of file descriptors: raise the limit (ulimit -n)", "err", err, "connections", len(s.conns))
	return s.makeRoom()
}

// awaitRoom waits until a connection that was cut off is closed, so that newcomers don't come faster than others go.
func (s *Server) awaitRoom() {
	select {
	case <-s.left:
	case <-s.done:
	case <-time.After(leaving):
	}
}

// warn logs an event now and then: there are few. The caller holds mu.
func (s *Server) warn(event string, facts ...any) {
	if now := time.Now(); now.Sub(s.warned[event]) >= warnEvery {
		s.warned[event] = now
		s.log.Warn(event, facts...)
	}
}

// tell is warn for a caller that does not hold mu.
func (s *Server) tell(event string, facts ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warn(event, facts...)
}
