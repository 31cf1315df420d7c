package node

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/goccy/go-json"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// createCluster makes this server the first member of a new cluster. Its log starts with a snapshot at index 1, so
// that every later server needs one too and learns configuration and state from it.
func (n *Node) createCluster(caller Caller, t Timeouts) {
	switch {
	case n.removed:
		n.env.Answer(caller, nil, ErrNotMember)
		return
	case n.identity != nil:
		n.env.Answer(caller, nil, ErrClusterExists)
		return
	case n.stopping:
		n.env.Answer(caller, nil, ErrRejected.Because("the server is stopping"))
		return
	}
	identity := wire.Identity{ClusterID: n.cfg.ClusterID, Key: n.cfg.ClusterKey, NodeID: 1}
	s := newSystem(t)
	s.Members[1] = Member{Addr: n.cfg.Addr, Instance: n.instance}
	user, err := n.encodeMachine()
	if err != nil {
		n.failed = err
		n.env.Answer(caller, nil, jsonrpc.ErrInternal.Because(err.Error()))
		return
	}
	first := wire.EntryID{Term: 1, Index: 1}
	stored := Stored{
		Snapshot:  &wire.Snapshot{LastIncluded: first, Voters: []uint64{1}, Learners: []uint64{}, Machines: wire.Machines{System: s.encode(), User: user}},
		HardState: wire.HardState{Term: 1, Commit: 1},
		Prev:      first,
	}
	err = n.env.Replace(&wire.Record{Identity: &identity}, &wire.Record{Snapshot: stored.Snapshot}, &wire.Record{HardState: &stored.HardState})
	if err == nil {
		err = n.begin(identity, stored)
	}
	if err == nil {
		err = n.raft.raw.Campaign()
	}
	if err != nil {
		n.failed = fmt.Errorf("node: create a cluster: %w", err)
		n.env.Answer(caller, nil, jsonrpc.ErrInternal.Because(err.Error()))
		return
	}
	n.log.Info("cluster created", "cluster", identity.ClusterID)
	n.env.Answer(caller, n.state.system.result(), nil)
}

// Join gives this server the place in a cluster that a member says it has. The member has named this server's
// instance, so it means this log and no earlier one. Afterwards the leader sends a snapshot.
func (n *Node) Join(identity wire.Identity, instance string) error {
	if n.identity != nil && *n.identity == identity && n.failed == nil {
		return nil // another member was first
	}
	if n.identity != nil || n.removed || n.failed != nil || n.stopping || instance != n.instance || !validID(identity.NodeID) {
		return fmt.Errorf("node: this server can't join as server %d", identity.NodeID)
	}
	err := n.env.Save(&wire.Record{Identity: &identity})
	if err == nil {
		err = n.begin(identity, Stored{})
	}
	if err != nil {
		n.failed = fmt.Errorf("node: join a cluster: %w", err)
		return n.failed
	}
	n.log.Info("joined a cluster", "cluster", identity.ClusterID, "id", identity.NodeID)
	return nil
}

// encodeMachine returns the user machine's state as compact JSON: a newline inside would split the line it is put on.
func (n *Node) encodeMachine() (encoded json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("node: the machine panicked in Snapshot: %v", p)
		}
	}()
	state, err := n.state.machine.Snapshot()
	if err == nil {
		err = jsonrpc.Valid(state, maxDepth)
	}
	if err != nil {
		return nil, fmt.Errorf("node: the machine's snapshot: %w", err)
	}
	return jsonrpc.Compact(state), nil
}

// installSnapshot replaces state and log by the snapshot that the leader sent. NB: No entry is kept beside it: stale
// ones would let this server win an election it must lose.
func (n *Node) installSnapshot(meta *raftpb.Snapshot) error {
	at := wire.EntryID{Term: meta.GetMetadata().GetTerm(), Index: meta.GetMetadata().GetIndex()}
	i := slices.IndexFunc(n.raft.incoming, func(s *wire.Snapshot) bool { return s.LastIncluded == at })
	if i < 0 {
		return fmt.Errorf("node: the snapshot at %d has no state", at.Index)
	}
	snap := n.raft.incoming[i]
	if err := n.restore(snap); err != nil {
		return err
	}
	hard := n.raft.hard
	hard.Commit = snap.LastIncluded.Index // entries of this Ready follow in a line of their own, with what is committed of them
	err := n.env.Replace(&wire.Record{Identity: n.identity}, &wire.Record{Snapshot: snap}, &wire.Record{HardState: &hard})
	if err != nil {
		return fmt.Errorf("node: the log can't be replaced: %w", err)
	}
	if err := n.raft.log.ApplySnapshot(meta); err != nil {
		return fmt.Errorf("node: keep the snapshot at %d: %w", snap.LastIncluded.Index, err)
	}
	n.raft.snap, n.raft.log.conf = snap, meta.GetMetadata().GetConfState()
	n.compaction.job, n.compaction.grown, n.compaction.size = nil, 0, uint64(len(snap.Machines.User)) // it goes beyond a job of ours
	n.answerSnapshots(func(c snapshotCaller) bool { return n.answerSnapshot(c, at.Index) })
	clear(n.state.decoded)
	// What we proposed up to its last term may be inside or not; it must not become a 106 later.
	n.settleBelow(snap.LastIncluded.Term+1, ErrUnknown, "a snapshot passed over it")
	n.linkPeers()
	n.log.Info("snapshot installed", "index", snap.LastIncluded.Index, "term", snap.LastIncluded.Term)
	return nil
}

// restore sets the machines to a snapshot.
func (n *Node) restore(snap *wire.Snapshot) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("node: the machine panicked on the snapshot at %d: %v", snap.LastIncluded.Index, p)
		}
	}()
	s, err := decodeSystem(snap.Machines.System)
	if err != nil {
		return err
	}
	if err := n.state.machine.Restore(snap.Machines.User); err != nil {
		return fmt.Errorf("node: the machine refuses the snapshot at %d: %w", snap.LastIncluded.Index, err)
	}
	n.state.system, n.state.time, n.state.applied = s, snap.Time, snap.LastIncluded
	return nil
}

func sorted(ids []uint64) []uint64 {
	s := append([]uint64{}, ids...)
	slices.Sort(s)
	return s
}
