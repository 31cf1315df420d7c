package node

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Standing is where a server stands in its cluster, for those who watch it in process. It is whole after each Flush.
type Standing struct {
	ClusterID string // empty before it belongs to one
	NodeID    uint64 // 0 before
	Role      string // as in ServerState
	Term      uint64
	Leader    string // its address; empty: not known
	LeaderID  uint64 // 0 where the address is empty
	Ready     bool   // see ready
	Removed   bool
	Members   []StandingMember // by id
	Snapshot  wire.EntryID     // the last entry in the last snapshot
}

// StandingMember is a member as this server sees it. Of this server itself Linked is false.
type StandingMember struct {
	ID       uint64
	Addr     string
	Role     string // as in MemberState
	Nonvoter bool   // it learns for good, or is to
	Linked   bool   // our link to it is up
}

// Mark tells whether the Standing has changed: if it has, the Mark differs. It is cheap to take and to compare.
type Mark struct {
	identity       *wire.Identity
	snap           *wire.Snapshot
	conf           *raftpb.ConfState // a new one with each step
	term, lead     uint64
	changes        uint64 // peers.changes
	role           raft.StateType
	ready, removed bool
}

// Mark is that of the Standing now.
func (n *Node) Mark() Mark {
	m := Mark{identity: n.identity, snap: n.raft.snap, term: n.raft.term, lead: n.raft.lead, changes: n.peers.changes,
		role: n.raft.role, ready: n.ready(), removed: n.removed}
	if n.raft.log != nil {
		m.conf = n.raft.log.conf
	}
	return m
}

// Standing is made anew. Its slice is the caller's.
func (n *Node) Standing() Standing {
	s := Standing{Role: n.roleName(n.raft.role), Term: n.raft.term, Ready: n.ready(), Removed: n.removed}
	if n.identity == nil {
		return s
	}
	s.ClusterID, s.NodeID = n.identity.ClusterID, n.identity.NodeID
	if s.Leader = n.leaderAddr(); s.Leader != "" {
		s.LeaderID = n.raft.lead
	}
	if n.raft.snap != nil {
		s.Snapshot = n.raft.snap.LastIncluded
	}
	n.eachMember(func(id uint64, m Member, role string) {
		s.Members = append(s.Members, StandingMember{id, m.Addr, role, m.Nonvoter, n.peers.up[id]})
	})
	return s
}

// eachMember calls f for each server on the member list and each that leaves, ascending by id.
func (n *Node) eachMember(f func(id uint64, m Member, role string)) {
	s, conf := n.state.system, n.raft.log.conf
	ids := s.ids()
	for id := range s.Leaving {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		m, _ := s.lookup(id)
		_, member := s.Members[id]
		switch {
		case !member:
			f(id, m, "Leaving")
		case m.Demotion != "":
			f(id, m, "Demoting")
		case slices.Contains(conf.GetVoters(), id):
			f(id, m, "Voter")
		case slices.Contains(conf.GetLearners(), id):
			f(id, m, "Learner")
		default:
			f(id, m, "Joining")
		}
	}
}

// following is what a server has heard of its leader since it came to know it. A leader that was lost is a new one.
type following struct {
	term  uint64 // of the leader
	heard bool   // told is set
	told  uint64 // what the leader had committed when it was first heard
	beats int    // heartbeats heard before
	beat  time.Duration
}

// certain is how many heartbeats, a tick apart at least, tell what a leader has committed. One tells no more than the
// follower is known to have. But the leader answers each response to one with what the follower lacks. So a follower that
// has heard this many, and nothing else between, lacks nothing: as after a short interruption in which nothing was
// written.
const certain = 3

// hearOf takes in a message that only leaders send.
func (n *Node) hearOf(m *raftpb.Message) {
	f := &n.following
	if m.GetTerm() < f.term {
		return
	}
	if m.GetTerm() > f.term {
		*f = following{term: m.GetTerm()}
	}
	switch {
	case f.heard:
	case m.GetType() == raftpb.MsgApp:
		f.heard, f.told = true, m.GetCommit()
	case m.GetType() == raftpb.MsgHeartbeat && (f.beats == 0 || n.clock.elapsed-f.beat >= n.state.system.Tick()):
		f.beats, f.beat = f.beats+1, n.clock.elapsed
		f.heard, f.told = f.beats >= certain, m.GetCommit()
	}
}

// ready tells whether this server knows its leader, and has applied all that was committed when it first heard from it:
// what the leader knew to be committed, and what was committed before its term, of which it can't know at first. The
// first entry of its term comes behind that.
func (n *Node) ready() bool {
	if n.raft.raw == nil || n.removed {
		return false
	}
	if n.raft.role == raft.StateLeader {
		return n.leading()
	}
	f, applied := &n.following, n.state.applied
	return n.raft.lead != raft.None && f.heard && applied.Term == n.raft.term && applied.Index >= f.told
}
