package node

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Nothing is said before the log holds what it takes for granted. Three things make that one comparison:
//
//	watermark   what the log would tell after a crash
//	claim       what a message, or an answer, takes for granted of it
//	holds       compares the two
//
// A message whose claim does not hold waits for the next line (say, sayRest).

// watermark is what the log of this server would tell after a crash: what its last line says, or its snapshot.
type watermark struct {
	term, vote uint64 // the vote is of the term
	last       uint64 // index of the last entry that is not about to be replaced
	commit     uint64 // up to where entries are known to be committed
}

// replaced notes what a Ready brings in the place of what is saved: until its line is written, nothing there counts.
func (w *watermark) replaced(rd raft.Ready) {
	if !raft.IsEmptySnap(rd.Snapshot) {
		w.last = 0
	}
	if len(rd.Entries) > 0 {
		w.last = min(w.last, rd.Entries[0].GetIndex()-1)
	}
}

// claim is what is taken for granted of the sender's log by whoever hears something. A zero member claims nothing.
type claim struct {
	term   uint64 // the log has this term, or a later one: whatever was of this term is history then, and binds nobody
	vote   uint64 // in this term, it has this vote
	last   uint64 // in this term, it has the entries up to this index
	commit uint64 // every step of the configuration up to this index is known to be committed
}

// holds tells whether a crash would leave a claim true. The commit index itself may be forgotten, since it is found out again;
// but a server that forgets that a step of the configuration is committed would go on to count the voters before it,
// while others, who have heard of the step from it, are gone for good.
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

// claimOf is what a message of the library takes for granted.
func claimOf(m *raftpb.Message) claim {
	switch m.GetType() {
	case raftpb.MsgVote: // a candidate has voted for itself. NB: not its log: another one may have won in the same turn, and replaced it
		return claim{term: m.GetTerm(), vote: m.GetFrom()}
	case raftpb.MsgVoteResp:
		if m.GetReject() {
			return claim{term: m.GetTerm()}
		}
		return claim{term: m.GetTerm(), vote: m.GetTo()}
	case raftpb.MsgPreVote: // it names a term that nobody is in yet
		return claim{}
	case raftpb.MsgPreVoteResp: // the same, if it is granted
		if !m.GetReject() {
			return claim{}
		}
		return claim{term: m.GetTerm()}
	case raftpb.MsgReadIndex: // where its sender is in a later term after a crash, it asks nobody of this one
		return claim{}
	case raftpb.MsgAppResp:
		if m.GetReject() {
			return claim{term: m.GetTerm()}
		}
		return claim{term: m.GetTerm(), last: m.GetIndex()}
	case raftpb.MsgApp:
		// NB: Not its entries: a leader sends them before it has saved them itself (Raft thesis §10.2.1). It does not
		// count itself before.
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

// steps are the indexes of the steps of the configuration in the log that the last line does not tell to be committed, ascending.
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

// append notes the steps among entries, which replace whatever was at their places and behind.
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

// line is the record that makes a Ready durable, or nil if there is nothing to save. Each line carries the hard state with
// the commit index as known now: after a restart the configuration is that of the stored commit. A commit that moves alone
// needs no line, unless it commits a step of the configuration.
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

// sayRest sends what has waited for a line.
func (n *Node) sayRest() error {
	for _, m := range n.raft.unsaid {
		if c := claimOf(m); !n.holds(c) {
			return fmt.Errorf("node: a %s to server %d claims %+v, the log holds %+v", m.GetType(), m.GetTo(), c, n.raft.saved)
		}
		n.send(m)
	}
	clear(n.raft.unsaid)
	n.raft.unsaid = n.raft.unsaid[:0]
	return nil
}
