package node

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Files that were put back to older copies give a cluster another history, beside the one that was. A server whose file is newer
// than those knows the first one. Raft can't tell it: the library acknowledges what is below its commit index, whatever it
// is asked to append there, and the server would go on to answer queries from the history that nobody else has.
//
// But a leader has all that was committed in terms before its own (Raft paper, Leader Completeness). So a leader of our term, or of a
// later one, that has something else than what is committed here shows that one of the two is from the past. This server stops:
// the others are, or are about to be, a majority.

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

// contradicts tells whether an entry can't be at its place, since another one is committed there.
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

// drop notes a message that is not taken. Whoever sends one may send many.
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
