package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// createCluster makes this server the first member of a new cluster. Its log starts with a snapshot at index 1. So
// every later server needs a snapshot too, and learns configuration and state from it.
func (n *Node) createCluster(caller Caller, r *Request) {
	bound := n.promises.Binds(n.clock.elapsed, n.cfg.ClusterID)
	switch {
	case n.removed:
		n.env.Answer(caller, nil, ErrNotMember)
		return
	case n.identity != nil:
		n.env.Answer(caller, nil, ErrClusterExists)
		return
	case n.captured:
		n.env.Answer(caller, nil, ErrBusy.Because("the state is being encoded"))
		return
	case n.stopping:
		n.env.Answer(caller, nil, ErrRejected.Because("the server is stopping"))
		return
	case bound != "":
		n.env.Answer(caller, nil, ErrBusy.Because(bound))
		return
	case r.Until != 0 && n.clock.elapsed > r.Until:
		n.env.Answer(caller, nil, ErrRejected.Because("what the others have promised is too old"))
		return
	}
	identity := wire.Identity{ClusterID: n.cfg.ClusterID, Key: n.cfg.ClusterKey, NodeID: 1}
	s := newSystem(r.Timeouts)
	s.Version = n.versions.own
	if r.Leases == Yes {
		s.LeaseReads, s.Level = true, wire.LeaseLevel
	}
	s.Members[1] = Member{Addr: n.cfg.Addr, Instance: n.instance}
	var user bytes.Buffer
	encode, err := capture(n.state.machine)
	if err == nil {
		err = encodeState(encode, &user)
	}
	if err != nil {
		n.failed = err
		n.env.Answer(caller, nil, jsonrpc.ErrInternal.Because(err.Error()))
		return
	}
	first := wire.EntryID{Term: 1, Index: 1}
	stored := Stored{
		StateSize: uint64(user.Len()),
		Snapshot:  &wire.Snapshot{LastIncluded: first, Voters: []uint64{1}, Learners: []uint64{}, Machines: wire.Machines{System: s.encode(), User: user.Bytes()}},
		HardState: wire.HardState{Term: 1, Commit: 1},
		Prev:      first,
	}
	err = n.env.Replace(&wire.Record{Identity: &identity}, &wire.Record{Snapshot: stored.Snapshot}, &wire.Record{HardState: &stored.HardState})
	stored.Snapshot.Machines.User = nil
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
	if bound := n.promises.Binds(n.clock.elapsed, identity.ClusterID); bound != "" {
		return errors.New(bound)
	}
	_, err := n.env.Save(&wire.Record{Identity: &identity})
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

// Bootstrap answers a server that looks for a cluster, or would create one with this server (package join).
func (n *Node) Bootstrap(q *join.Question) join.Answer {
	a := join.Answer{Addr: n.cfg.Addr, Instance: n.instance, Member: n.identity != nil, Removed: n.removed}
	switch {
	case a.Member:
		return a
	case n.stopping || n.failed != nil:
		a.Refusal = "it is stopping"
		return a
	}
	a.Promised, a.Refusal = n.promises.Ask(n.clock.elapsed, q)
	if why := a.Refusal; why != "" && n.refused[q.From] != why {
		if len(n.refused) >= maxRefused {
			clear(n.refused)
		}
		n.refused[q.From] = why
		n.log.Warn("no part in a cluster to come", "asked by", q.From, "servers", q.Servers, "why", a.Refusal)
	}
	return a
}

// maxRefused bounds of how many askers is known what was logged: they may be anybody.
const maxRefused = 64

// arrived is a snapshot of the leader's whose state the environment has.
type arrived struct {
	snapshot *wire.Snapshot
	size     uint64 // of the state, in bytes
}

// WantSnapshot tells whether the snapshot of a MsgSnap is of use, before its state travels. An error says why not. If
// the snapshot is old, the library tells the leader how far this server is. Otherwise the leader would send it for
// ever.
func (n *Node) WantSnapshot(from uint64, m *wire.Message) error {
	switch {
	case n.raft.raw == nil || n.failed != nil || n.removed:
		return fmt.Errorf("node: this server takes no snapshots")
	case !n.known(from) || m.From != from || m.To != n.identity.NodeID || m.Raft.GetType() != raftpb.MsgSnap:
		return fmt.Errorf("node: server %d may not send this snapshot", from)
	case m.Raft.GetTerm() < n.raft.raw.BasicStatus().GetTerm():
		return fmt.Errorf("node: the snapshot at %d is of an old term", m.Snapshot.LastIncluded.Index)
	}
	if flaw := n.flaw(m); flaw != "" {
		n.drop(m, flaw)
		return fmt.Errorf("node: %s", flaw)
	}
	if m.Snapshot.LastIncluded.Index <= n.raft.hard.Commit {
		n.step(m)
		return fmt.Errorf("node: the snapshot at %d is old", m.Snapshot.LastIncluded.Index)
	}
	if err := checkVersion(n.versions.own, m.Snapshot); err != nil {
		n.Fail(err) // and not only refuse it: the machine can't read it, and no other one will come
		return err
	}
	return nil
}

// Snapshot takes in a MsgSnap when the environment has the user's state that belongs to it, size bytes. What the
// library makes of it shows in the next Flush: Env.Install, or nothing.
func (n *Node) Snapshot(from uint64, m *wire.Message, size uint64) error {
	if err := n.WantSnapshot(from, m); err != nil {
		return err
	}
	n.raft.incoming = append(n.raft.incoming, arrived{m.Snapshot, size})
	if keeps, err := demotedIn(m.Snapshot, n.identity.NodeID); err != nil {
		return err
	} else if meta := m.Raft.GetSnapshot().GetMetadata(); keeps {
		meta.ConfState = asVoter(meta.GetConfState(), n.identity.NodeID) // for the library alone
	}
	n.step(m)
	return nil
}

// SnapshotSpoiled tells that this server's own snapshot can't be read from its disk. What it held is in memory: a new
// one takes its place, and that of all the rest of the file.
func (n *Node) SnapshotSpoiled() {
	n.log.Error("the snapshot in the log file is damaged; a new one is made")
	n.beginSnapshot()
}

// installSnapshot replaces state and log by the snapshot that the leader sent. The Ready's entries come behind it.
// NB: No older entry is kept beside it: a stale one would let this server win an election it must lose.
func (n *Node) installSnapshot(meta *raftpb.Snapshot, behind []*raftpb.Entry) error {
	at := wire.EntryID{Term: meta.GetMetadata().GetTerm(), Index: meta.GetMetadata().GetIndex()}
	i := slices.IndexFunc(n.raft.incoming, func(s arrived) bool { return s.snapshot.LastIncluded == at })
	if i < 0 {
		return fmt.Errorf("node: the snapshot at %d has no state", at.Index)
	}
	snap := n.raft.incoming[i].snapshot
	meta = snap.Metadata() // the library's may have another part for this server: demotion.go
	if err := n.take(snap); err != nil {
		return err
	}
	hard := n.raft.hard
	hard.Commit = snap.LastIncluded.Index // what is behind it follows in a line of its own, with what is committed of that
	if err := n.env.Install(snap, &hard); err != nil {
		return fmt.Errorf("node: the snapshot at %d can't be installed: %w", snap.LastIncluded.Index, err)
	}
	n.raft.saved, n.raft.steps = watermark{hard.Term, hard.Vote, hard.Commit, hard.Commit}, nil
	n.raft.steps.append(behind)
	if err := n.raft.log.ApplySnapshot(meta); err != nil {
		return fmt.Errorf("node: keep the snapshot at %d: %w", snap.LastIncluded.Index, err)
	}
	n.raft.snap, n.raft.log.conf = snap, meta.GetMetadata().GetConfState()
	n.compaction.size, n.compaction.cost, n.compaction.early = n.raft.incoming[i].size, 0, 0 // it goes beyond a job of ours, whose end is still to come
	n.compaction.grown = n.spread()
	n.answerSnapshots(func(c snapshotCaller) bool { return n.answerSnapshot(c, at.Index) })
	n.raft.incoming = nil
	clear(n.state.decoded)
	// What we proposed up to its last term may be in it or not. It must not become a 106 later.
	n.settleBelow(snap.LastIncluded.Term+1, ErrUnknown, "a snapshot passed over it")
	n.passOver()
	n.settleRemovals()
	n.linkPeers()
	n.counts.installed++
	n.log.Info("snapshot installed", "index", snap.LastIncluded.Index, "term", snap.LastIncluded.Term)
	return nil
}

// take makes a snapshot's part of the framework this server's. The user's is the environment's to take.
func (n *Node) take(snap *wire.Snapshot) error {
	s, err := decodeSystem(snap.Machines.System)
	if err == nil {
		err = behind(n.versions.own, s.Version)
	}
	if err == nil {
		err = beyond(s.Level)
	}
	if err != nil {
		return err
	}
	s.sessions.bind(n.cfg.Bounds)
	n.state.system, n.state.time, n.state.applied = s, snap.Time, snap.LastIncluded
	n.clock.applied(n.state.time)
	return nil
}

func sorted(ids []uint64) []uint64 {
	s := append([]uint64{}, ids...)
	slices.Sort(s)
	return s
}
