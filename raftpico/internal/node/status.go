package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// ServerState is what GetServerState answers. The first eight members are the original's.
type ServerState struct {
	Addr        string         `json:"addr"`
	NodeID      *uint64        `json:"node_id"` // null before the server belongs to a cluster
	Term        uint64         `json:"current_term"`
	VotedFor    *uint64        `json:"voted_for"`
	Role        string         `json:"role"` // Follower, PreCandidate, Candidate, Leader, Learner
	CommitIndex uint64         `json:"commit_index"`
	Snapshot    wire.EntryID   `json:"snapshot"`
	Failure     string         `json:"snapshot_failure,omitempty"` // why the last own snapshot failed, until one does not
	Machines    *StateMachines `json:"machines,omitempty"`
	Lack        string         `json:"machines_missing,omitempty"` // why they are not there though asked for

	ClusterID    string        `json:"cluster_id,omitempty"`
	Leader       string        `json:"leader,omitempty"` // its address, where known
	Removed      bool          `json:"removed,omitempty"`
	AppliedIndex uint64        `json:"applied_index"`
	LastIndex    uint64        `json:"last_index"`
	AppliedTime  int64         `json:"applied_time_ms"`
	Pending      int           `json:"requests_under_way"`
	Waiting      int           `json:"waiting,omitempty"`      // of these, deferred commands and queries that wait for a change
	Sessions     int           `json:"sessions,omitempty"`     // of clients, in the cluster
	RemovedDead  uint64        `json:"removed_dead,omitempty"` // members that were removed since they were dead
	Members      []MemberState `json:"members"`
	Log          LogState      `json:"log"`
	Loop         LoopState     `json:"loop"`
	Version      string        `json:"version"`

	// MachineVersion is the newest version of the machine that this server knows, ActiveVersion the cluster's. Missing:
	// 0.
	MachineVersion int `json:"machine_version,omitempty"`
	ActiveVersion  int `json:"active_version,omitempty"`

	// Level is what this server's release can read (wire.Level), ActiveLevel what is needed to read what was logged.
	Level       int `json:"level,omitempty"`
	ActiveLevel int `json:"active_level,omitempty"`

	LeaseReads bool `json:"lease_reads,omitempty"` // leaders answer queries under a lease
	Leased     bool `json:"lease_held,omitempty"`  // this server leads, and its lease lasts

	StateHash *wire.StateHash `json:"state_hash,omitempty"` // the last one of this server's state
	Diverged  bool            `json:"diverged,omitempty"`   // a member's state differed from this server's at the same index
}

// StateMachines are the machines' states.
type StateMachines struct {
	System json.RawMessage `json:"system"`
	User   json.RawMessage `json:"user"`
}

// MemberState is a server as this one sees it. Match, Active and Progress are known to the leader alone; the sizes are
// a second old, and missing where the server can't be reached.
type MemberState struct {
	ID            uint64  `json:"id"`
	Addr          string  `json:"addr"`
	Role          string  `json:"role"`               // Voter, Learner; Joining, Demoting and Leaving between list and configuration
	Nonvoter      bool    `json:"nonvoter,omitempty"` // it learns for good, or is to
	Match         *uint64 `json:"match_index,omitempty"`
	Active        *bool   `json:"active,omitempty"`
	Progress      string  `json:"progress,omitempty"` // Replicate; Probe: its log is being found out; Snapshot: one is on its way
	LogBytes      *int64  `json:"log_bytes,omitempty"`
	SnapshotBytes *int64  `json:"snapshot_bytes,omitempty"`

	MachineVersion int `json:"machine_version,omitempty"` // the newest that it knows; missing: 0, or it can't be reached
	Level          int `json:"level,omitempty"`           // as it told last; missing: 0, or it has not yet

	StateHash *wire.StateHash `json:"state_hash,omitempty"` // the last that it told
	Diverged  bool            `json:"diverged,omitempty"`   // its state differed from this server's at the same index
}

// LogState tells of the log file. It is filled in by whoever owns the file.
type LogState struct {
	Bytes         int64  `json:"bytes"`
	SnapshotBytes int64  `json:"snapshot_bytes"`
	Syncs         uint64 `json:"syncs"`
	SlowestAppend int64  `json:"slowest_append_us"` // with its sync: see LoopState
}

// LoopState tells of the event loop.
type LoopState struct {
	// SlowestTurn is the longest that the loop was at work, or waited for the disk, without a look at what came in: in
	// microseconds, within the last 10 to 20 seconds.
	SlowestTurn int64 `json:"slowest_turn_us"`
}

// Stater is an Env that can tell of its log file and its loop.
type Stater interface {
	LogState() LogState
	LoopState() LoopState
	MemberLog(id uint64) (bytes, snapshotBytes int64, known bool) // of another server's file
}

// State describes the server, without the machines.
func (n *Node) State() *ServerState {
	s := &ServerState{Addr: n.cfg.Addr, Role: n.roleName(n.raft.role), Term: n.raft.saved.term, CommitIndex: n.raft.hard.Commit, Removed: n.removed,
		Failure: n.compaction.failure, AppliedIndex: n.state.applied.Index, AppliedTime: n.state.time, Pending: n.pending, Waiting: n.waiting(), Sessions: n.state.system.sessions.count(), RemovedDead: n.state.system.RemovedDead, Leader: n.leaderAddr(), Members: n.memberStates(), Version: n.cfg.Release,
		MachineVersion: n.versions.own, ActiveVersion: n.state.system.Version, Level: wire.Level, ActiveLevel: n.state.system.Level,
		LeaseReads: n.state.system.LeaseReads, Leased: n.leased()}
	if n.identity != nil {
		s.NodeID, s.ClusterID = new(n.identity.NodeID), n.identity.ClusterID
		s.LastIndex = n.raft.saved.last
	}
	if v := n.raft.saved.vote; v != 0 {
		s.VotedFor = &v
	}
	if h := n.StateHash(); h.Index > 0 {
		s.StateHash = &h
	}
	for _, m := range s.Members {
		s.Diverged = s.Diverged || m.Diverged
	}
	if n.raft.snap != nil {
		s.Snapshot = n.raft.snap.LastIncluded
	}
	if env, ok := n.env.(Stater); ok {
		s.Log, s.Loop = env.LogState(), env.LoopState()
		for i := range s.Members {
			m := &s.Members[i]
			if s.NodeID != nil && m.ID == *s.NodeID {
				m.LogBytes, m.SnapshotBytes = &s.Log.Bytes, &s.Log.SnapshotBytes
			} else if log, snapshot, known := env.MemberLog(m.ID); known {
				m.LogBytes, m.SnapshotBytes = &log, &snapshot
			}
		}
	}
	return s
}

func (n *Node) memberStates() []MemberState {
	states := []MemberState{}
	if n.identity == nil {
		return states
	}
	n.eachMember(func(id uint64, m Member, role string) {
		state := MemberState{ID: id, Addr: m.Addr, Role: role, Nonvoter: m.Nonvoter, MachineVersion: n.versions.peers[id], Level: n.levels[id]}
		if id == n.identity.NodeID {
			state.MachineVersion, state.Level = n.versions.own, wire.Level
		}
		if h, told := n.hashes.others[id]; told {
			state.StateHash = &h
		}
		_, state.Diverged = n.hashes.differs[id]
		states = append(states, state)
	})
	if n.raft.raw != nil && n.raft.role == raft.StateLeader {
		n.raft.raw.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			for i := range states {
				if states[i].ID == id {
					states[i].Match, states[i].Active = new(pr.Match), new(pr.RecentActive || id == n.identity.NodeID)
					if id != n.identity.NodeID {
						states[i].Progress = strings.TrimPrefix(pr.State.String(), "State")
					}
				}
			}
		})
	}
	return states
}

func (n *Node) roleName(s raft.StateType) string {
	switch {
	case s == raft.StateLeader:
		return "Leader"
	case s == raft.StateCandidate:
		return "Candidate"
	case s == raft.StatePreCandidate:
		return "PreCandidate"
	case n.identity != nil && n.raft.log != nil && slices.Contains(n.raft.log.conf.GetLearners(), n.identity.NodeID):
		return "Learner"
	}
	return "Follower"
}

// raftLogger lets the library speak through our logger. Its Panic panics, and nobody recovers it: it means that an
// invariant of Raft is broken, and going on could lose data.
type raftLogger struct{ log logger }

type logger interface {
	Debug(msg string, args ...any)
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

func (l raftLogger) Debug(v ...any)              {}
func (l raftLogger) Debugf(f string, v ...any)   {}
func (l raftLogger) Info(v ...any)               { l.log.Debug("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Infof(f string, v ...any)    { l.log.Debug("raft: " + fmt.Sprintf(f, v...)) }
func (l raftLogger) Warning(v ...any)            { l.log.Warn("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) { l.log.Warn("raft: " + fmt.Sprintf(f, v...)) }
func (l raftLogger) Error(v ...any)              { l.log.Error("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any)   { l.log.Error("raft: " + fmt.Sprintf(f, v...)) }
func (l raftLogger) Fatal(v ...any)              { panic("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(f string, v ...any)   { panic("raft: " + fmt.Sprintf(f, v...)) }
func (l raftLogger) Panic(v ...any)              { panic("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Panicf(f string, v ...any)   { panic("raft: " + fmt.Sprintf(f, v...)) }
