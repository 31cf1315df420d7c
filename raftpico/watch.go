package raftpico

import (
	"context"
	"iter"

	"github.com/raftpico/go/raftpico/internal/node"
)

// Status is where a server stands in its cluster, as of its last turn. It is a copy of what the server knows itself.
//
// It may be over already. A server that is cut off, paused, or waits for its disk takes itself for the leader until it
// finds out, while another one leads. So what a leader does outside the machine should carry Term, and whatever it acts
// on should refuse a lower Term than it has seen: a machine can keep the highest in its state. What goes through Apply
// needs no such care.
type Status struct {
	ClusterID string // empty before it belongs to a cluster
	NodeID    uint64 // 0 before
	Role      string // Follower, PreCandidate, Candidate, Leader or Learner
	Term      uint64 // of Raft. A server that leads, stops leading, and leads again does so in a higher one
	Leader    string // address of the leader; empty: not known
	LeaderID  uint64 // 0 where Leader is empty

	// Ready tells that the server knows a leader, and has applied all that was committed when it first heard of it. It
	// ends when the leader is lost, and comes back under the next one. A server that is ready may fall behind again.
	Ready bool

	Members  []Member // by id; the slice is the receiver's
	Snapshot EntryID  // the last entry in its last snapshot; zero: none
	Removed  bool     // it was a member and is none any more
	Ended    bool     // it has ended, and this is its last Status: it follows nobody
}

// Member is a member of the cluster, as a server sees it.
type Member struct {
	ID       uint64
	Addr     string
	Role     string // Voter, Learner; Joining, Demoting and Leaving on the way
	Nonvoter bool   // it learns for good, or is to
	Linked   bool   // the server's link to it is up; false for the server itself
}

// Leads tells whether the server leads, and has applied all that was committed before its term. A leader that has not
// yet answers no queries either.
func (s Status) Leads() bool { return s.Role == "Leader" && s.Ready }

// Status is where the server stands. It asks nothing of the server, which may be busy or have ended. What a call has
// just been answered may show a moment later.
func (s *Server) Status() Status { return status(s.loop.Standing()) }

// Leader is the address of the leader as far as the server knows, or empty. It is that of [Server.Status].
func (s *Server) Leader() string {
	now, _ := s.loop.Standing()
	return now.Leader
}

// Ready waits until the server belongs to a cluster, knows its leader, and has applied all that was committed when it
// first heard of that leader: see [Status]. It asks nothing of the server, which may be busy meanwhile. The error is that
// of ctx; or ErrNotMember for a server that was removed; or ErrRejected for one that has ended, with the cause where it
// failed.
func (s *Server) Ready(ctx context.Context) error {
	var removed bool
	err := s.loop.Watch(ctx, func(now *node.Standing, ended bool) bool {
		removed = now.Removed && !ended
		return !now.Ready && !removed
	})
	if removed {
		return ErrNotMember.Because("this server was removed from its cluster")
	}
	return err
}

// Events yields the server's Status: the present one first, then each time that it has changed, until ctx or the server
// ends. A server's end is the last Status, with Ended set.
//
// The latest one wins: while the loop's body runs, several changes may pass, and the next Status has them all. So compare
// it with the one before rather than wait for a certain change. A leadership that was lost and won again in between shows
// as a higher Term. A slow body holds up nobody else, nor the server.
//
// Events starts no goroutine. Any number of them may run, each of which sees everything.
func (s *Server) Events(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		_ = s.loop.Watch(ctx, func(now *node.Standing, ended bool) bool { return yield(status(now, ended)) })
	}
}

func status(now *node.Standing, ended bool) Status {
	s := Status{ClusterID: now.ClusterID, NodeID: now.NodeID, Role: now.Role, Term: now.Term, Leader: now.Leader, LeaderID: now.LeaderID,
		Ready: now.Ready, Snapshot: EntryID(now.Snapshot), Removed: now.Removed, Ended: ended}
	for _, m := range now.Members {
		s.Members = append(s.Members, Member(m))
	}
	return s
}
