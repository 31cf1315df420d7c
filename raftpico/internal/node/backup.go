package node

import (
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// A backup is of one server's snapshot, and disturbs no other server: it takes no entry. That the snapshot has all that
// was committed before the backup was asked for, a round of reads tells, as for a query (reads.go).

// forBackup is the kind of what waits for a round and is no query.
const forBackup machine.Kind = 0

// backup takes in a Backup.
func (n *Node) backup(caller Caller, deadline time.Duration, stale bool) {
	n.pending++
	switch {
	case stale && n.raft.snap != nil:
		n.answerSnapshot(snapshotCaller{caller: caller}, n.raft.snap.LastIncluded.Index)
	case n.joinSnapshot(caller, deadline):
	default:
		n.reads.waiting = append(n.reads.waiting, query{kind: forBackup, caller: caller, deadline: deadline})
	}
}

// takeBackup answers a Backup whose round is over when a snapshot of what is applied now is durable.
func (n *Node) takeBackup(caller Caller, deadline time.Duration) {
	c := snapshotCaller{caller, deadline, n.state.applied.Index}
	if snap := n.raft.snap; snap != nil && n.answerSnapshot(c, snap.LastIncluded.Index) {
		return
	}
	n.compaction.callers = append(n.compaction.callers, c)
	n.due(deadline)
	n.compaction.pause, n.compaction.asksOwn = 0, true
}

// beginAsked begins the snapshot for a Backup, when no Ready of the library is in hand.
func (n *Node) beginAsked() {
	if n.compaction.asksOwn {
		n.compaction.asksOwn = false
		n.beginSnapshot()
	}
}

// LastSnapshot is the snapshot that the log begins with, without the user's state, and whose it is. It must not be
// changed.
func (n *Node) LastSnapshot() (*wire.Snapshot, wire.Identity, *jsonrpc.Error) {
	switch {
	case n.identity == nil || n.removed:
		return nil, wire.Identity{}, ErrNotMember
	case n.raft.snap == nil:
		return nil, wire.Identity{}, n.failure(ErrRejected, "this server has not learned the state yet")
	}
	return n.raft.snap, *n.identity, nil
}
