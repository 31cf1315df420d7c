package client

import (
	"strconv"
	"sync/atomic"
	"time"
)

// Bounds of what a session has under way. Servers keep 1,024 outcomes above a session's ack, and 1 MiB of them.
const (
	windowSize  = 1000                   // ack < seq ≤ ack + windowSize
	windowBytes = 512 << 10              // of outcomes above ack: with more, it takes nothing new
	stuckSize   = 256                    // seqs above ack: with as many, it takes nothing new if the oldest is
	stuckAge    = int64(1 * time.Second) // as old as this
)

// session numbers the commands of one session on the servers, and knows which are answered. Guarded by sessionPool.mu, but for id and ack.
//
// Invariant: all seqs ≤ ack are answered or given up, seq ack+1 is not; ack < next.
type session struct {
	id    uint64
	next  uint64        // seq of the next command
	ack   atomic.Uint64 // anybody may read it: it only grows
	bytes int           // of outcomes above ack
	ended bool

	said    uint64 // an ack that the last command has told
	givenUp uint64 // the last seq that was given up, though its command may have been applied
	telling bool   // a goroutine is about to tell it

	slots [windowSize]slot // of the seqs above ack, by seq % windowSize
}

type slot struct {
	began   int64 // since servers.began
	size    int   // bytes of its outcome
	pending bool  // its answer is waited for
}

func newSession(id uint64) *session { return &session{id: id, next: 1} }

func (s *session) slot(seq uint64) *slot { return &s.slots[seq%windowSize] }

// above is how many seqs are above ack.
func (s *session) above() uint64 { return s.next - 1 - s.ack.Load() }

// takes tells whether a command may be begun.
func (s *session) takes(now int64) bool {
	n := s.above()
	stuck := n >= stuckSize && now-s.slot(s.ack.Load()+1).began > stuckAge
	return !s.ended && n < windowSize && !s.full() && !stuck
}

// full tells that the servers may soon refuse to keep more of its outcomes.
func (s *session) full() bool { return s.bytes >= windowBytes }

// begin gives a command its number. The session takes it.
func (s *session) begin(now int64) (seq uint64) {
	seq = s.next
	s.next++
	*s.slot(seq) = slot{began: now, pending: true}
	s.said = s.ack.Load() // its attempts tell it, or more
	return seq
}

// end is called once the outcome of a command is not asked for any more; size is its length, in bytes.
func (s *session) end(seq uint64, size int) {
	one := s.slot(seq)
	one.pending, one.size = false, size
	s.bytes += size
	ack := s.ack.Load()
	for ack+1 < s.next && !s.slot(ack+1).pending {
		ack++
		s.bytes -= s.slot(ack).size
	}
	s.ack.Store(ack)
}

// owes tells whether the servers do not know yet that commands were given up.
func (s *session) owes() bool {
	return !s.ended && s.said < s.givenUp && s.givenUp <= s.ack.Load()
}

// appendTo appends the param of an attempt. It needs no lock.
func (s *session) appendTo(p []byte, seq uint64) []byte {
	p = strconv.AppendUint(append(p, `,"session":{"id":`...), s.id, 10)
	p = strconv.AppendUint(append(p, `,"seq":`...), seq, 10)
	p = strconv.AppendUint(append(p, `,"ack":`...), s.ack.Load(), 10)
	return append(p, '}')
}
