package node

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// When the log files of a majority are put back to older copies, the cluster goes on from there, and writes a second
// history. A server whose file is newer still has the first one. Raft does not find that out: when the library is asked
// to append below its commit index, it acknowledges without a look. The server would go on to answer queries from a
// history that nobody else has.
//
// But a leader has all that was committed in earlier terms (Raft paper, Leader Completeness). So if a leader of this
// term, or of a later one, has another entry where this server has a committed one, files were put back. This server
// stops, since the others are a majority, or soon will be.

// contradiction tells how a message of a leader contradicts what is committed here, or "".
func (n *Node) contradiction(m *raftpb.Message) string {
	if m.GetTerm() < n.raft.raw.BasicStatus().GetTerm() || m.GetType() != raftpb.MsgApp {
		return ""
	}
	if n.contradicts(wire.EntryID{Term: m.GetLogTerm(), Index: m.GetIndex()}, nil) {
		return fmt.Sprintf("entry %d of term %d", m.GetIndex(), m.GetLogTerm())
	}
	for _, e := range m.GetEntries() {
		if n.contradicts(wire.EntryID{Term: e.GetTerm(), Index: e.GetIndex()}, e) {
			return fmt.Sprintf("entry %d of term %d", e.GetIndex(), e.GetTerm())
		}
	}
	return ""
}

// contradicts tells whether another entry is committed at an entry's place. A nil e is compared by its term alone.
func (n *Node) contradicts(at wire.EntryID, e *raftpb.Entry) bool {
	if at.Index > n.state.applied.Index || at.Index == 0 {
		return false
	}
	term, err := n.raft.log.Term(at.Index)
	switch {
	case err != nil: // it is in the snapshot, and of no later term than what came behind it
		return at.Term > n.state.applied.Term
	case term != at.Term:
		return true
	case e == nil:
		return false
	}
	own, err := n.raft.log.Entries(at.Index, at.Index+1, 0)
	return err == nil && (own[0].GetType() != e.GetType() || !bytes.Equal(own[0].GetData(), e.GetData()))
}

// tellSeen has a heartbeat tell a follower what this leader has seen of it: the entries that it has acknowledged in this
// term. The commit index tells so as far as they are committed. A follower whose file was put back to an older copy lacks
// some, and stops (check.go), before it is counted for an entry that it has lost. The library leaves the index of a
// heartbeat at 0, and passes it over.
func (n *Node) tellSeen(m *raftpb.Message) {
	if n.raft.role != raft.StateLeader || m.GetTerm() != n.raft.term {
		return // it has waited, and this server leads no more
	}
	if seen, _ := n.follows(m.GetTo()); seen > m.GetCommit() {
		m.Index = new(seen)
	}
}

// diverged ends this server.
func (n *Node) diverged(what string) {
	if n.failed == nil {
		n.failed = fmt.Errorf("node: the leader has %s, and this server has applied entries up to %d that contradict it: "+
			"files of this cluster were put back to older copies; what this server has is lost to the others: keep its file, "+
			"remove the server, and add it again with a new one", what, n.state.applied.Index)
	}
}

// warnPause is from one warning of a kind to the next.
const warnPause = 10 * time.Second

// drop logs that a message is not taken, but not each time: whoever sends one may send many.
func (n *Node) drop(m *wire.Message, why string) {
	kind := fmt.Sprint(m.From, why)
	if last, warned := n.peers.warned[kind]; warned && n.clock.elapsed-last < warnPause {
		return
	}
	if len(n.peers.warned) >= maxGuests {
		clear(n.peers.warned)
	}
	n.peers.warned[kind] = n.clock.elapsed
	n.log.Warn("message dropped", "from", m.From, "type", m.Raft.GetType().String(), "why", why)
}
