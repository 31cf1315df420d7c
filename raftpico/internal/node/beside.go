package node

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Where a sync takes long, it is made beside the turn: commands are sent, acknowledged, applied and answered while the
// disk is at those behind them. One line is under way; what comes meanwhile gathers to the next one. So lines stay in
// order, and only the last one can be torn.
//
// Only entries go beside, in a term and with a vote that are saved. Whatever else is to be saved, and whatever else is
// done with the log file, waits for the line under way (settle), and is done in the turn. So a vote, a new term, a step
// of the configuration, entries that replace others, and a snapshot find nothing under way.
//
// What may be said, durable.go decides: while a line is under way, the watermark stays where it was. What is applied is
// saved here: the library gives out no entry before it has heard that.
//
// A disk that hangs must hang its server, else a leader that can log nothing would lead for ever. A line that has been
// under way for a tick is waited for in the turn.

// Saver is an Env that can save beside the turn.
type Saver interface {
	// Slow tells whether the disk is so slow that the next line should be saved beside the turn.
	Slow() bool
	// SaveBeside is Save that does not wait. Saved tells how it ended, unless AwaitSave was called before.
	// Until then the record is not changed, and nothing else is asked of the log.
	SaveBeside(r *wire.Record)
	// AwaitSave waits for what SaveBeside has begun, and tells how it ended, and how long it took in all.
	AwaitSave() (took time.Duration, err error)
}

// saving is what is saved beside the turn.
type saving struct {
	line  *wire.Record      // under way; nil: none is
	acks  []*raftpb.Message // what the library wants to hear when it is saved
	since time.Duration
	ended bool // Saved was called
	took  time.Duration
	err   error

	next     *wire.Record // gathers; nil: nothing does
	nextAcks []*raftpb.Message
}

// any tells whether something is not saved yet.
func (s *saving) any() bool { return s.line != nil || s.next != nil }

// waits tells whether something is to be saved, and nothing is under way.
func (s *saving) waits() bool { return s.line == nil && s.next != nil }

// Saved tells how Saver.SaveBeside ended.
func (n *Node) Saved(took time.Duration, err error) {
	s := &n.raft.saving
	s.ended, s.took, s.err = s.line != nil, took, err
}

// saveDue is when the turn waits for the line under way.
func (n *Node) saveDue() time.Duration {
	if n.raft.saving.line == nil {
		return never
	}
	return n.raft.saving.since + n.state.system.Tick()
}

// canWait tells whether a Ready may be saved beside the turn. If not, nothing may be under way when it is handled.
func (n *Node) canWait(rd raft.Ready) bool {
	if n.saver == nil || !raft.IsEmptySnap(rd.Snapshot) || slices.ContainsFunc(rd.Entries, isStep) {
		return false
	}
	commit := n.raft.hard.Commit
	if h := rd.HardState; h != nil && !raft.IsEmptyHardState(h) {
		if h.GetTerm() != n.raft.saved.term || h.GetVote() != n.raft.saved.vote {
			return false
		}
		commit = h.GetCommit()
	}
	if n.raft.steps.upTo(commit) > n.raft.saved.commit {
		return false
	}
	return len(rd.Entries) == 0 || rd.Entries[0].GetIndex() == n.raft.log.last()+1
}

// saveBeside saves a Ready beside the turn, or lets it wait for the line that is. It reports false if there is no need.
func (n *Node) saveBeside(rd raft.Ready, acks []*raftpb.Message) (taken bool, err error) {
	s := &n.raft.saving
	if !s.any() && (len(rd.Entries) == 0 || !n.saver.Slow()) {
		return false, nil
	}
	r, err := n.keep(rd)
	if err != nil {
		return false, err
	}
	if r != nil {
		s.gather(r)
	}
	if s.next == nil { // the line under way is the last
		s.acks = append(s.acks, acks...)
		return true, nil
	}
	s.nextAcks = append(s.nextAcks, acks...)
	if s.line != nil {
		return true, nil
	}
	return true, n.saveNext()
}

// gather adds a line to the one that is saved next. Its entries come behind those.
func (s *saving) gather(r *wire.Record) {
	if s.next == nil {
		s.next = &wire.Record{HardState: r.HardState, LogEntries: &wire.LogEntries{Prev: r.LogEntries.Prev, Entries: slices.Clone(r.LogEntries.Entries)}}
		return
	}
	s.next.HardState = r.HardState
	s.next.LogEntries.Entries = append(s.next.LogEntries.Entries, r.LogEntries.Entries...)
}

// saveNext saves what has gathered. Nothing is under way.
func (n *Node) saveNext() error {
	s := &n.raft.saving
	if n.saver.Slow() {
		s.line, s.acks, s.since, s.ended = s.next, s.nextAcks, n.clock.elapsed, false
		s.next, s.nextAcks = nil, nil
		n.env.Sent()
		n.saver.SaveBeside(s.line)
		return nil
	}
	return n.saveGathered()
}

// saveGathered saves what has gathered in the turn.
func (n *Node) saveGathered() error {
	s := &n.raft.saving
	r, acks := s.next, s.nextAcks
	s.next, s.nextAcks = nil, nil
	if r == nil {
		return nil
	}
	if err := n.saveLine(r); err != nil {
		return err
	}
	return n.wasSaved(acks)
}

// wasSaved says what has waited for a line, and tells the library of it.
func (n *Node) wasSaved(acks []*raftpb.Message) error {
	if err := n.sayRest(); err != nil {
		return err
	}
	n.stepOwn(acks)
	return nil
}

// takeSaved takes in that the line under way is saved, or waits for it if it has taken too long.
func (n *Node) takeSaved() error {
	s := &n.raft.saving
	switch {
	case s.ended:
		return n.endSave(s.took, s.err)
	case n.saveDue() <= n.clock.elapsed:
		return n.endSave(n.saver.AwaitSave())
	}
	return nil
}

func (n *Node) endSave(took time.Duration, err error) error {
	s := &n.raft.saving
	r, acks := s.line, s.acks
	s.line, s.acks, s.ended = nil, nil, false
	if err != nil {
		return fmt.Errorf("node: the log can't be written: %w", err)
	}
	n.pace.sync = took
	if n.raft.raw == nil { // it has left its cluster meanwhile
		*s = saving{}
		return nil
	}
	n.noteSaved(r)
	return n.wasSaved(acks)
}

// settle waits for all that is not saved yet.
func (n *Node) settle() error {
	s := &n.raft.saving
	switch {
	case !s.any():
		return nil
	case s.ended:
		if err := n.endSave(s.took, s.err); err != nil {
			return err
		}
	case s.line != nil:
		n.env.Sent()
		if err := n.endSave(n.saver.AwaitSave()); err != nil {
			return err
		}
	}
	return n.saveGathered()
}
