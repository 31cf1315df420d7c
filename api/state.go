package api

import "github.com/goccy/go-json"

// State is what GetServerState answers: a server as it is, by what it knows itself.
type State struct {
	Addr        string         `json:"addr"`                       // at which others reach it
	NodeID      *uint64        `json:"node_id"`                    // nil before it belongs to a cluster
	Term        uint64         `json:"current_term"`               // of Raft
	VotedFor    *uint64        `json:"voted_for"`                  // in that term; nil: for nobody
	Role        string         `json:"role"`                       // Follower, PreCandidate, Candidate, Leader or Learner
	CommitIndex uint64         `json:"commit_index"`               // up to here the log is committed, as far as it knows
	Snapshot    EntryID        `json:"snapshot"`                   // the last entry in its last snapshot; zero: none
	Failure     string         `json:"snapshot_failure,omitempty"` // why its last try to make one failed, until one does not
	Machines    *StateMachines `json:"machines,omitempty"`         // nil if not asked for, or missing
	Lack        string         `json:"machines_missing,omitempty"` // why they are, though asked for

	ClusterID    string        `json:"cluster_id,omitempty"` // empty before it belongs to one
	Leader       string        `json:"leader,omitempty"`     // address of the leader; empty: not known
	Removed      bool          `json:"removed,omitempty"`    // it was a member and is none any more
	AppliedIndex uint64        `json:"applied_index"`        // up to here the machine has the log's commands
	LastIndex    uint64        `json:"last_index"`           // of its log
	AppliedTime  int64         `json:"applied_time_ms"`      // the machine's time, in milliseconds since 1970
	Pending      int           `json:"requests_under_way"`
	Waiting      int           `json:"waiting,omitempty"`      // of these, deferred commands, and queries that wait for a change
	Sessions     int           `json:"sessions,omitempty"`     // of clients, in the cluster
	RemovedDead  uint64        `json:"removed_dead,omitempty"` // members that were removed since they were dead (Options.RemoveDead), in the cluster's life
	Members      []MemberState `json:"members"`
	Log          LogState      `json:"log"`
	Loop         LoopState     `json:"loop"`
	Version      string        `json:"version"` // of this module

	MachineVersion int        `json:"machine_version,omitempty"` // the newest that its machine knows (machine.Versioned)
	ActiveVersion  int        `json:"active_version,omitempty"`  // the cluster's
	Level          int        `json:"level,omitempty"`           // what its release can read of the log and of messages: docs/OPERATIONS.md, Upgrades
	ActiveLevel    int        `json:"active_level,omitempty"`    // the least that reads all that the cluster has logged
	LeaseReads     bool       `json:"lease_reads,omitempty"`     // the cluster's leaders answer queries under a lease
	Leased         bool       `json:"lease_held,omitempty"`      // this server leads, and has a lease now
	StateHash      *StateHash `json:"state_hash,omitempty"`      // the last one of its state
	Diverged       bool       `json:"diverged,omitempty"`        // a member's state differed from its own at the same index
}

// EntryID names an entry of the log.
type EntryID struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// StateMachines are the states of the machines: the framework's own, which is the member list, and the user's.
type StateMachines struct {
	System json.RawMessage `json:"system"`
	User   json.RawMessage `json:"user"`
}

// MemberState is a member as the server sees it. What the leader alone knows is nil elsewhere; what the members tell each other is a
// second old, and nil or zero where one can't be reached.
type MemberState struct {
	ID             uint64     `json:"id"`
	Addr           string     `json:"addr"`
	Role           string     `json:"role"`                      // Voter, Learner; Joining, Demoting and Leaving on the way
	Nonvoter       bool       `json:"nonvoter,omitempty"`        // it learns for good, or is to
	Match          *uint64    `json:"match_index,omitempty"`     // leader: up to here its log is the leader's
	Active         *bool      `json:"active,omitempty"`          // leader: it has answered within an election timeout
	Progress       string     `json:"progress,omitempty"`        // leader: Replicate; Probe, its log is being found out; Snapshot
	LogBytes       *int64     `json:"log_bytes,omitempty"`       // size of its log file
	SnapshotBytes  *int64     `json:"snapshot_bytes,omitempty"`  // of these the snapshot
	MachineVersion int        `json:"machine_version,omitempty"` // the newest that its machine knows
	Level          int        `json:"level,omitempty"`           // what its release can read; 0 also where it has not told yet
	StateHash      *StateHash `json:"state_hash,omitempty"`      // the last that it told
	Diverged       bool       `json:"diverged,omitempty"`        // its state differed from this server's at the same index
}

// LogState tells of the log file; all is zero without one.
type LogState struct {
	Bytes         int64  `json:"bytes"`             // its size
	SnapshotBytes int64  `json:"snapshot_bytes"`    // of these the snapshot
	Syncs         uint64 `json:"syncs"`             // since the server started
	SlowestAppend int64  `json:"slowest_append_us"` // with its sync: in microseconds, within the last 10 to 20 seconds
}

// LoopState tells of the event loop.
type LoopState struct {
	// SlowestTurn is the longest that it was at work, or waited for the disk, without a look at what came in: in
	// microseconds, within the last 10 to 20 seconds.
	SlowestTurn int64 `json:"slowest_turn_us"`
}

// StateHash is a hash of all that is replicated, as of an entry. Servers whose states are equal have equal ones at the
// same index.
type StateHash struct {
	Index uint64 `json:"index"` // of the entry
	Hash  string `json:"hash"`  // its kind, and 64 bits in hex
}
