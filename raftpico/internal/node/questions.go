package node

import (
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// To confirm a query the library asks all other servers, by a heartbeat with a context, and counts who acknowledges that. But
// the answers of as many as make a majority with the leader are enough, and each question costs a wake-up on both sides. So for
// several queries only those are asked who were the quickest last and are saving nothing just now. The question to the others
// is held back. It goes in a turn in which those who were asked have taken long, or one of them is gone, and at the latest
// with the next tick. To the library that is a network that is slow.
//
// For a query alone all are asked: where so little is under way, wake-ups are free, and the first answer is the sooner one of
// more. So are they by the first question after a tick, which shows who is the quickest now, and by the heartbeats of ticks,
// whatever these carry: who leads a cluster of whom nobody hears finds out as ever.

// questions are a leader's. Contexts count up within its term.
type questions struct {
	term   uint64
	ticked bool              // what the library has ready contains heartbeats of a tick
	stale  bool              // who is quick is to be found out anew
	many   bool              // the next question is for several queries
	newest uint64            // the context of the last question
	few    []uint64          // who was asked alone, and has not answered newest
	held   []*raftpb.Message // for others, one for each at most
	due    time.Duration     // from when on these go
	all    uint64            // the newest context that everybody was asked under
	quick  []uint64          // who has acknowledged one such, in this order
	heard  uint64            // which one that was
}

// patienceWithFew is how long those who were asked alone may take, in units of Config.HoldReads.
const patienceWithFew = 10

// holdsQuestion holds a message back if it is a question to one who need not be asked now, and tells whether it was.
func (n *Node) holdsQuestion(m *raftpb.Message) bool {
	q := &n.reads.questions
	if m.GetType() != raftpb.MsgHeartbeat || len(m.GetContext()) == 0 || n.cfg.HoldReads == 0 {
		return false
	}
	if m.GetTerm() != q.term {
		*q = questions{term: m.GetTerm(), ticked: q.ticked, stale: true, many: q.many}
	}
	if context := binary.LittleEndian.Uint64(m.GetContext()); context != q.newest {
		q.newest = context
		n.chooseFew()
	}
	if q.ticked || len(q.few) == 0 {
		q.asksAll()
		return false
	}
	i := slices.IndexFunc(q.held, func(other *raftpb.Message) bool { return other.GetTo() == m.GetTo() })
	switch asks := slices.Contains(q.few, m.GetTo()); {
	case asks && i >= 0:
		q.held = slices.Delete(q.held, i, i+1)
		return false
	case asks:
		return false
	case i >= 0:
		q.held[i] = m
		return true
	case len(q.held) == 0:
		q.due = n.clock.elapsed + patienceWithFew*n.cfg.HoldReads
	}
	q.held = append(q.held, m)
	return true
}

// chooseFew chooses whom to ask under the newest context: nobody means all.
func (n *Node) chooseFew() {
	q := &n.reads.questions
	all := q.stale || !q.many
	q.few, q.stale, q.many = q.few[:0], false, false
	if all {
		return
	}
	voters, own := 0, 0
	n.raft.raw.WithProgress(func(id uint64, kind raft.ProgressType, pr tracker.Progress) {
		switch {
		case kind != raft.ProgressTypePeer:
			return
		case id == n.identity.NodeID:
			own = 1
		case n.peers.up[id] && pr.State == tracker.StateReplicate && pr.Next == pr.Match+1:
			q.few = append(q.few, id)
		}
		voters++
	})
	need := voters/2 + 1 - own
	if len(q.few) < need {
		q.few = q.few[:0]
		return
	}
	slices.SortStableFunc(q.few, func(a, b uint64) int { return q.place(a) - q.place(b) })
	q.few = q.few[:need]
}

// place is where a server stands among the quick ones.
func (q *questions) place(id uint64) int {
	if i := slices.Index(q.quick, id); i >= 0 {
		return i
	}
	return len(q.quick)
}

// noteAcknowledged takes in who acknowledges a question.
func (q *questions) noteAcknowledged(from uint64, m *raftpb.Message) {
	if len(m.GetContext()) == 0 || m.GetTerm() != q.term {
		return
	}
	context := binary.LittleEndian.Uint64(m.GetContext())
	if context == q.all {
		if q.heard != context {
			q.heard, q.quick = context, q.quick[:0]
		}
		if !slices.Contains(q.quick, from) {
			q.quick = append(q.quick, from)
		}
	}
	if i := slices.Index(q.few, from); i >= 0 && context >= q.newest {
		if q.few = slices.Delete(q.few, i, i+1); len(q.few) == 0 {
			q.drop() // a majority has acknowledged all
		}
	}
}

// askRest asks those who were spared, if that is due.
func (n *Node) askRest() {
	q := &n.reads.questions
	if len(q.held) == 0 || q.due > n.clock.elapsed {
		return
	}
	for _, m := range q.held {
		if n.raft.role == raft.StateLeader && m.GetTerm() == n.raft.term && !n.hold(m) {
			n.say(m)
		}
	}
	q.asksAll()
}

// asksAll notes that everybody is asked under the newest context.
func (q *questions) asksAll() {
	q.all, q.few = q.newest, q.few[:0]
	q.drop()
}

// drop forgets what is held back.
func (q *questions) drop() {
	clear(q.held)
	q.held = q.held[:0]
}

// gone tells that a server can't be heard any more.
func (q *questions) gone(id uint64) {
	if slices.Contains(q.few, id) {
		q.due = 0
	}
}
