package jsonrpc

import (
	"errors"
	"sync/atomic"
)

// Stats is how a Server is, and what it has counted since it began.
type Stats struct {
	Conns    int    // open now
	Accepted uint64 // connections that were taken in
	Refused  uint64 // that came and were not, for want of room
	GaveWay  uint64 // idle ones that were closed for newcomers
	CutOff   uint64 // that were closed because they held too much: Budget, MaxUnsent

	Held     int // bytes that are read and no whole line yet, and answers that are not sent: half of Limits.Budget at most
	Underway int // bytes of requests that are not answered: the same

	Unparsed uint64 // lines that were answered ErrParse
	Invalid  uint64 // lines, and elements of batches, that were answered ErrInvalidRequest
}

// counts are what is counted of connections. Guarded by Server.mu, but for the lines, which are counted by readers, and are
// few: what is no request costs its connection more than that.
type counts struct {
	accepted, refused, gaveWay, cutOff uint64
	unparsed, invalid                  atomic.Uint64
}

// line counts a line that is no request.
func (n *counts) line(e *Error) {
	if e.Code == ErrParse.Code {
		n.unparsed.Add(1)
	} else {
		n.invalid.Add(1)
	}
}

// Stats may be called at any time, on any goroutine.
func (s *Server) Stats() Stats {
	s.init()
	s.mu.Lock()
	now := Stats{Conns: len(s.conns), Accepted: s.counts.accepted, Refused: s.counts.refused, GaveWay: s.counts.gaveWay,
		CutOff: s.counts.cutOff, Unparsed: s.counts.unparsed.Load(), Invalid: s.counts.invalid.Load()}
	s.mu.Unlock()
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	now.Held, now.Underway = s.budget.held, s.budget.underway
	return now
}

// heldTooMuch tells whether a connection was closed for its own greed.
func heldTooMuch(cause error) bool { return errors.Is(cause, errUnsent) || errors.Is(cause, errGreedy) }
