package loop

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/raftpico/go/raftpico/internal/node"
)

// standings tells those in process who watch the server where it stands. The turn posts a standing when it has changed,
// and never waits for anybody: whoever is slow sees the newest one next, and not those between. Any number may look.
type standings struct {
	now  atomic.Pointer[standing]
	mark node.Mark // of now. Owner: the turn
}

type standing struct {
	node.Standing               // not changed any more
	newer         chan struct{} // closed when there is a newer one
	over          error         // it is the last one, since the loop has ended: what to tell
}

// tell posts the core's standing at the end of a turn, if it has changed. Most turns compare their marks, and that is all.
func (s *standings) tell(core *node.Node) {
	if mark := core.Mark(); mark != s.mark || s.now.Load() == nil {
		s.mark = mark
		s.post(&standing{Standing: core.Standing()})
	}
}

func (s *standings) post(next *standing) {
	next.newer = make(chan struct{})
	if old := s.now.Swap(next); old != nil {
		close(old.newer)
	}
}

// end posts the last standing: of a server that does nothing any more.
func (s *standings) end(over error) {
	last := s.now.Load().Standing
	last.Ready, last.Leader, last.LeaderID = false, "", 0
	if last.Role != "Learner" {
		last.Role = "Follower"
	}
	members := make([]node.StandingMember, 0, len(last.Members))
	for _, m := range last.Members {
		m.Linked = false
		members = append(members, m)
	}
	last.Members = members
	s.post(&standing{Standing: last, over: over})
}

// Standing is where the server stands, as of the last turn. It must not be changed.
func (l *Loop) Standing() (now *node.Standing, ended bool) {
	s := l.standings.now.Load()
	return &s.Standing, s.over != nil
}

// Watch calls see with the standing, and with each newer one that is there when see has returned, until see returns
// false. An error is that of ctx, or tells that the loop has ended: then see has been called with the last standing.
func (l *Loop) Watch(ctx context.Context, see func(now *node.Standing, ended bool) bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		now := l.standings.now.Load()
		if !see(&now.Standing, now.over != nil) {
			return nil
		}
		if now.over != nil {
			return now.over
		}
		select {
		case <-now.newer:
		case <-ctx.Done():
		}
	}
}

// overBecause is what those are told who wait for a standing when the loop has ended.
func (l *Loop) overBecause(failure error) error {
	if failure == nil {
		return l.ending.whom
	}
	return errors.Join(l.ending.whom, failure)
}
