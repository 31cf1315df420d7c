package sim

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// What a server says, its disk must hold: whoever has heard it goes on from there, and the server may lose power in the next
// moment. These rules are checked in Env.Send and Env.Answer, by what the simulated disk has made durable, whatever the core
// believes. D is that disk: identity, term, vote, commit, last (index), base (the entry before its first), snapshot (index), and
// D[i], the term of entry i, known for base <= i <= last. All that is below base is committed. T is the message's term.
//
// A message of any kind:
//
//	D.identity is the sender's
//	T <= D.term                      it is in that term, and can't fall back behind it
//	                                 NB: not PreVote, PreVoteResp, ReadIndex and Propose, see below
//
// While D.term = T, and no more when a later term is durable: then nothing can be done in T any more, and what was said of it
// was overtaken before it was sent.
//
//	MsgVote                          D.vote = sender; D[index] = log term: the log that it asks for votes with. Or D ends in term T:
//	                                 another has won meanwhile, and replaced it
//	MsgVoteResp, granted             D.vote = receiver
//	MsgApp, MsgHeartbeat, MsgSnap,   D.vote = sender: it leads T
//	MsgReadIndexResp, MsgTimeoutNow
//	MsgApp                           D[i] = the entry's term, for the entry before and all entries of terms < T. Those of T the
//	                                 leader may send before it has saved them (Raft thesis §10.2.1)
//	MsgAppResp of i, no rejection    i <= D.last, D[i] = the term of the entry acknowledged.
//	                                 If D.term > T: the same, or D ends in a term > T: a later leader has replaced it
//
// Whoever tells that c is committed: MsgApp, MsgHeartbeat (commit), MsgReadIndexResp (index); MsgSnap (its place); the
// answer to a command, a query or a change of the members (what is applied here); GetServerState (commit and applied index); a
// handshake refused with "removed" (what is applied here):
//
//	c <= D.last                      nobody's acknowledgement can have come before the own line was saved. What is applied is always
//	                                 saved; of what a server only knows, its line may be under way beside the turn
//	s <= c → s <= D.commit           for every step s of the configuration. Else a server that was removed could leave on the
//	                                 word of one that comes back with the configuration before, and waits for its vote
//
// Besides:
//
//	MsgSnap                          D.snapshot = its place, at least where the library believes it: it keeps the entries from there on
//	GetServerState                   term, vote, last index and snapshot are D's, or were: the state may have been encoded since
//	CreateCluster                    D.identity.id = 1
//	TakeSnapshot                     snapshot index <= D.snapshot (answers.go)
//	RemoveServer                     the server can be spared (spared.go)
//
// Nothing is promised by MsgHeartbeatResp and any rejection, but their terms: they can only keep something from happening, or tell
// what was so. By MsgPreVote and MsgPreVoteResp: nothing is done for them but to ask for votes. By MsgReadIndex: it says that its
// sender was in T when it was sent, not that it will not forget. By Propose: its tag limits who may log it. By Rejected: it is of one attempt, which has been consumed.

// says checks a message before it is sent.
func (s *server) says(m *wire.Message) {
	r, d := m.Raft, &s.disk
	if d.identity.NodeID != m.From {
		s.w.fail("%s says %v, and is server %d on its disk", s, m, d.identity.NodeID)
	}
	if r == nil {
		return
	}
	term := r.GetTerm()
	switch r.GetType() {
	case raftpb.MsgReadIndex, raftpb.MsgPreVote, raftpb.MsgPreVoteResp:
		return
	}
	if term > d.hard.Term {
		s.w.fail("%s says %v in a term that is not durable: %+v", s, r, d.hard)
	}
	current := term == d.hard.Term
	switch r.GetType() {
	case raftpb.MsgVote:
		at, _ := d.termAt(r.GetIndex())
		if last, _ := d.termAt(d.last()); current && (d.hard.Vote != m.From || at != r.GetLogTerm() && last != term) {
			s.w.fail("%s asks for votes, %v, and has not saved its own, or its log: %+v, term %d there", s, r, d.hard, at)
		}
	case raftpb.MsgVoteResp:
		if current && !r.GetReject() && d.hard.Vote != m.To {
			s.w.fail("%s gives a vote that is not durable, %v: %+v", s, r, d.hard)
		}
	case raftpb.MsgAppResp:
		if !r.GetReject() {
			s.acknowledges(r, current)
		}
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap, raftpb.MsgReadIndexResp, raftpb.MsgTimeoutNow:
		if current && d.hard.Vote != m.From {
			s.w.fail("%s leads, and has not saved its vote for itself: %v, %+v", s, r, d.hard)
		}
	}
	switch r.GetType() {
	case raftpb.MsgApp:
		if current {
			s.sendsOld(r)
		}
		s.knows(r.GetCommit())
	case raftpb.MsgHeartbeat:
		s.knows(r.GetCommit())
	case raftpb.MsgReadIndexResp:
		s.knows(r.GetIndex())
	case raftpb.MsgSnap:
		if at := m.Snapshot.LastIncluded; at.Index != d.snapshot || at.Index < r.GetSnapshot().GetMetadata().GetIndex() {
			s.w.fail("%s sends the snapshot at %v, and has the one at %d", s, at, d.snapshot)
		}
		s.tells(m.Snapshot.LastIncluded.Index)
	}
}

// acknowledges checks that a MsgAppResp tells of what is durable.
func (s *server) acknowledges(r *raftpb.Message, current bool) {
	d, index := &s.disk, r.GetIndex()
	if last, _ := d.termAt(d.last()); !current && last > r.GetTerm() {
		return
	}
	if index > d.last() {
		s.w.fail("%s acknowledges %v, and its log ends at %d", s, r, d.last())
	}
	for _, heard := range s.appends {
		if known, ok := d.termAt(index); ok && heard.term == r.GetTerm() && heard.last.Index == index && heard.last.Term != known {
			s.w.fail("%s acknowledges %v after %v, and its entry %d is of term %d", s, r, heard.last, index, known)
		}
	}
}

// heardAppend is a MsgApp that has come in this turn: its term, and its last entry.
type heardAppend struct {
	term uint64
	last wire.EntryID
}

// sendsOld checks that a leader sends nothing of an older term that it has not saved.
func (s *server) sendsOld(r *raftpb.Message) {
	check := func(index, term uint64) {
		if known, ok := s.disk.termAt(index); term < r.GetTerm() && index > s.disk.base.Index && (!ok || known != term) {
			s.w.fail("%s sends entry %d of term %d in term %d, and has not saved it: term %d", s, index, term, r.GetTerm(), known)
		}
	}
	check(r.GetIndex(), r.GetLogTerm())
	for _, e := range r.GetEntries() {
		check(e.GetIndex(), e.GetTerm())
	}
}

// knows is tells of what a server knows to be committed, and has not applied. If lines are saved beside the turn, the others
// may be a majority while its own is under way.
func (s *server) knows(index uint64) {
	if s.w.besides.rng != nil {
		index = min(index, s.disk.last())
	}
	s.tells(index)
}

// tells checks that a server may tell that everything up to index is committed.
func (s *server) tells(index uint64) {
	d := &s.disk
	if index > d.last() {
		s.w.fail("%s tells that %d is committed, and its log ends at %d", s, index, d.last())
	}
	for i := max(d.hard.Commit, d.base.Index) + 1; i <= index; i++ {
		if p, _ := d.at(i); p.step {
			s.w.fail("%s tells that %d is committed, which covers the step of the configuration at %d, and its durable commit is %d",
				s, index, i, d.hard.Commit)
		}
	}
}

// answers checks what the result of a request tells.
func (s *server) answers(r *request) {
	switch d := &s.disk; {
	case r.err != nil:
	case r.request.Op == node.Apply:
		s.tells(s.m.at)
	case r.request.Op == node.CreateCluster && d.identity.NodeID != 1:
		s.w.fail("%s is answered, and the server has no place on its disk: %+v", r, d.identity)
	case r.request.Op == node.AddServer, r.request.Op == node.RemoveServer:
		s.tells(s.node.State().AppliedIndex)
	}
}

// described checks what a GetServerState tells.
func (d *disk) described(s *server, told *node.ServerState) {
	unsaved := told.VotedFor != nil && told.Term == d.hard.Term && *told.VotedFor != d.hard.Vote
	if last, _ := d.termAt(d.last()); told.LastIndex > d.last() && last < told.Term { // else a leader has replaced what was there
		unsaved = true
	}
	if unsaved || told.Term > d.hard.Term || told.Snapshot.Index > d.snapshot {
		s.w.fail("%s says %+v, and has %+v", s, told, d.contents)
	}
	s.knows(told.CommitIndex)
	s.tells(told.AppliedIndex)
}
