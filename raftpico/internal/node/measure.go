package node

import (
	"time"

	"github.com/raftpico/go/api"
)

// counts is what the core counts for those who watch the server: it goes into nothing that the core decides.
type counts struct {
	leaderChanges                uint64 // how often a leader came to be known
	appliedBytes                 uint64 // of entries
	made, failed, installed      uint64 // snapshots; see api.Metrics
	snapshotsSent, snapshotsLost uint64
	snapshots                    api.Histogram // how long the own ones took
}

// Timer is an Env that wants to know how long it takes to apply a page of entries. Applied follows each Applying.
type Timer interface {
	Applying()
	Applied()
}

// Measure tells how the server is. What links, the disk and the loop know is not in it. It changes nothing, so it may be asked
// between all other calls, and while Env.Save is under way.
func (n *Node) Measure(m *api.Metrics) {
	s, now, c := n.State(), n.Standing(), &n.counts
	m.Addr, m.Version, m.ClusterID, m.Role, m.Leader, m.Ready, m.Removed = s.Addr, s.Version, s.ClusterID, s.Role, s.Leader, now.Ready, s.Removed
	m.NodeID, m.Term, m.CommitIndex, m.AppliedIndex, m.LastIndex, m.SnapshotIndex = now.NodeID, s.Term, s.CommitIndex, s.AppliedIndex, s.LastIndex, s.Snapshot.Index
	m.ElectionTimeout = time.Duration(n.state.system.Timeouts.Min) * time.Millisecond
	m.LeaseReads, m.Leased = s.LeaseReads, s.Leased
	m.MachineVersion, m.ActiveVersion, m.Diverged = s.MachineVersion, s.ActiveVersion, s.Diverged
	m.Pending, m.Waiting, m.Sessions, m.RemovedDead = s.Pending, s.Waiting, s.Sessions, s.RemovedDead
	m.LeaderChanges, m.AppliedBytes, m.Snapshots = c.leaderChanges, c.appliedBytes, c.snapshots
	m.SnapshotsMade, m.SnapshotsFailed, m.SnapshotsInstalled, m.SnapshotsSent, m.SnapshotsLost = c.made, c.failed, c.installed, c.snapshotsSent, c.snapshotsLost
	m.LogBytes, m.SnapshotBytes = s.Log.Bytes, s.Log.SnapshotBytes
	m.SlowestAppend, m.SlowestTurn = time.Duration(s.Log.SlowestAppend)*time.Microsecond, time.Duration(s.Loop.SlowestTurn)*time.Microsecond
	m.Members = make([]api.MemberMetrics, 0, len(s.Members))
	for _, each := range s.Members {
		to := api.MemberMetrics{ID: each.ID, Addr: each.Addr, Role: each.Role, Self: each.ID == now.NodeID, Linked: n.peers.up[each.ID],
			Progress: each.Progress, Diverged: each.Diverged, LogBytes: each.LogBytes, SnapshotBytes: each.SnapshotBytes}
		if each.Match != nil {
			to.Lag = new(s.LastIndex - min(*each.Match, s.LastIndex))
		}
		m.Members = append(m.Members, to)
	}
}
