package node

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A server may lose power right after it has said something. So it says nothing that its log would not tell after a
// crash. One comparison sees to that:
//
//	watermark   what the log would tell after a crash
//	claim       what a message, or an answer, needs the log to tell
//	holds       compares the two
//
// A message whose claim does not hold waits until the next line is saved (say, sayRest).

// watermark is what the log would tell after a crash: what its last line says, or its snapshot.
type watermark struct {
	term, vote uint64 // the vote is of the term
	last       uint64 // index of the last entry; entries that are about to be replaced do not count
	commit     uint64 // up to where entries are known to be committed
}

// replaced notes that a Ready replaces saved entries. They do not count from now on, and what replaces them does not
// count before its line is saved.
func (w *watermark) replaced(rd raft.Ready) {
	if !raft.IsEmptySnap(rd.Snapshot) {
		w.last = 0
	}
	if len(rd.Entries) > 0 {
		w.last = min(w.last, rd.Entries[0].GetIndex()-1)
	}
}

// claim is what whoever hears a message believes about the sender's log. A zero member claims nothing. A step is an
// entry that changes the Raft configuration.
type claim struct {
	term   uint64 // the log has this term, or a later one. With a later one the claim holds: the old term binds nobody
	vote   uint64 // if it has this term, it has this vote in it
	last   uint64 // if it has this term, it has the entries up to this index
	commit uint64 // it tells that every step up to this index is committed
}

// holds tells whether a claim would still be true after a crash.
//
// A server may forget the commit index itself, since it finds it out again. It must not forget that a step is
// committed. It would count the voters of the configuration before the step; but a server that was removed may have
// heard of the step from it, and be gone for good.
func (n *Node) holds(c claim) bool {
	w := &n.raft.saved
	switch {
	case c.term > w.term, n.raft.steps.upTo(c.commit) > w.commit:
		return false
	case c.term < w.term:
		return true
	}
	return (c.vote == 0 || c.vote == w.vote) && c.last <= w.last
}

// claimOf is what a message of the library claims.
func claimOf(m *raftpb.Message) claim {
	switch m.GetType() {
	case raftpb.MsgVote:
		// A candidate has voted for itself. NB: It does not claim its log. Another candidate may have won in the same
		// turn and replaced it; then nobody counts these votes.
		return claim{term: m.GetTerm(), vote: m.GetFrom()}
	case raftpb.MsgVoteResp:
		if m.GetReject() {
			return claim{term: m.GetTerm()}
		}
		return claim{term: m.GetTerm(), vote: m.GetTo()}
	case raftpb.MsgPreVote: // its term is one that nobody is in yet
		return claim{}
	case raftpb.MsgPreVoteResp:
		if !m.GetReject() { // as above
			return claim{}
		}
		return claim{term: m.GetTerm()}
	case raftpb.MsgReadIndex: // a question; it promises nothing
		return claim{}
	case raftpb.MsgAppResp:
		if m.GetReject() {
			return claim{term: m.GetTerm()}
		}
		return claim{term: m.GetTerm(), last: m.GetIndex()}
	case raftpb.MsgApp:
		// NB: It does not claim its entries. A leader sends them before it has saved them, and counts itself only
		// afterwards (Raft thesis §10.2.1).
		return claim{term: m.GetTerm(), commit: m.GetCommit()}
	case raftpb.MsgHeartbeat:
		return claim{term: m.GetTerm(), commit: m.GetCommit()}
	case raftpb.MsgReadIndexResp:
		return claim{term: m.GetTerm(), commit: m.GetIndex()}
	case raftpb.MsgSnap:
		return claim{term: m.GetTerm(), commit: m.GetSnapshot().GetMetadata().GetIndex()}
	}
	return claim{term: m.GetTerm()}
}

// steps are the indexes of the steps that the saved log does not yet tell to be committed, ascending.
type steps []uint64

// upTo is the last step at or below index, or 0.
func (s steps) upTo(index uint64) uint64 {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] <= index {
			return s[i]
		}
	}
	return 0
}

// append notes the steps among new entries. These replace what was at their places and behind.
func (s *steps) append(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	first := entries[0].GetIndex()
	*s = slices.DeleteFunc(*s, func(i uint64) bool { return i >= first })
	for _, e := range entries {
		if isStep(e) {
			*s = append(*s, e.GetIndex())
		}
	}
}

// known drops the steps that the log tells to be committed.
func (s *steps) known(commit uint64) {
	*s = slices.DeleteFunc(*s, func(i uint64) bool { return i <= commit })
}

func isStep(e *raftpb.Entry) bool { return e.GetType() == raftpb.EntryConfChangeV2 }

// line is the record that makes a Ready durable, or nil if there is nothing to save. Each line carries the hard state
// with the newest commit index: after a restart the configuration is that of the stored commit. If nothing but the
// commit index has moved, no line is needed, unless it commits a step.
func (n *Node) line(rd raft.Ready) (*wire.Record, error) {
	if !rd.MustSync && n.raft.steps.upTo(n.raft.hard.Commit) <= n.raft.saved.commit {
		return nil, nil
	}
	r := &wire.Record{HardState: new(n.raft.hard)}
	if len(rd.Entries) > 0 {
		prev := rd.Entries[0].GetIndex() - 1
		term, err := n.raft.log.Term(prev)
		if err != nil {
			return nil, fmt.Errorf("node: term of entry %d: %w", prev, err)
		}
		r.LogEntries = &wire.LogEntries{Prev: wire.EntryID{Term: term, Index: prev}, Entries: rd.Entries}
	}
	return r, nil
}

// noteSaved notes that a record is durable.
func (n *Node) noteSaved(r *wire.Record) {
	w := &n.raft.saved
	if e := r.LogEntries; e != nil {
		w.last = e.Prev.Index + uint64(len(e.Entries))
	}
	w.term, w.vote, w.commit = r.HardState.Term, r.HardState.Vote, r.HardState.Commit
	n.raft.steps.known(w.commit)
}

// say sends a message of the library, now or when the log holds what it claims.
func (n *Node) say(m *raftpb.Message) {
	if !n.holds(claimOf(m)) {
		n.raft.unsaid = append(n.raft.unsaid, m)
		return
	}
	n.send(m)
}

// sayRest sends what has waited for a line. What waits for the next one goes on waiting.
func (n *Node) sayRest() error {
	rest := n.raft.unsaid[:0]
	for _, m := range n.raft.unsaid {
		switch c := claimOf(m); {
		case n.holds(c):
			n.send(m)
		case n.raft.saving.any():
			rest = append(rest, m)
		default:
			return fmt.Errorf("node: a %s to server %d claims %+v, the log holds %+v", m.GetType(), m.GetTo(), c, n.raft.saved)
		}
	}
	clear(n.raft.unsaid[len(rest):])
	n.raft.unsaid = rest
	return nil
}
