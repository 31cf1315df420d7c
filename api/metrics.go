package api

import "time"

// Metrics is how a server is, and what it has counted since it started. Counters only grow while the server runs. Nothing of it
// is replicated: each server tells its own.
type Metrics struct {
	// Age is how old the figures are. Zero: they are those of now. A machine that has been at work for more than a second
	// holds them up.
	Age time.Duration `json:"age_ns,omitempty"`

	Addr    string        `json:"addr"`    // at which others reach it
	Version string        `json:"version"` // of this module
	Uptime  time.Duration `json:"uptime_ns"`

	ClusterID string `json:"cluster_id,omitempty"` // empty before it belongs to one
	NodeID    uint64 `json:"node_id"`              // 0 before
	Role      string `json:"role"`                 // as in State
	Leader    string `json:"leader,omitempty"`     // address of the leader; empty: not known
	Ready     bool   `json:"ready"`                // as in raftpico.Status
	Removed   bool   `json:"removed,omitempty"`    // it was a member and is none any more

	Term          uint64 `json:"term"`
	CommitIndex   uint64 `json:"commit_index"`   // up to here the log is committed, as far as it knows
	AppliedIndex  uint64 `json:"applied_index"`  // up to here the machine has the log's commands
	LastIndex     uint64 `json:"last_index"`     // of its log
	SnapshotIndex uint64 `json:"snapshot_index"` // of its last snapshot; 0: none
	LeaderChanges uint64 `json:"leader_changes"` // how often it has come to know a leader
	AppliedBytes  uint64 `json:"applied_bytes"`  // of entries that were applied since the start

	ElectionTimeout time.Duration `json:"election_timeout_ns"` // the cluster's least

	LeaseReads bool `json:"lease_reads"` // the cluster's leaders answer queries under a lease
	Leased     bool `json:"lease_held"`  // it leads, and had a lease at that moment

	MachineVersion int  `json:"machine_version"` // the newest that its machine knows
	ActiveVersion  int  `json:"active_version"`  // the cluster's
	Diverged       bool `json:"diverged"`        // a member's state differed from its own at the same index

	RemovedDead uint64 `json:"removed_dead"` // members that were removed since they were dead, in the cluster's life

	Members []MemberMetrics `json:"members"` // by id; the slice is the receiver's

	Requests     []RequestCount `json:"requests"`      // of clients and callers in process, once they are answered
	RequestTimes []RequestTime  `json:"request_times"` // from arrival to answer
	Pending      int            `json:"pending"`       // requests under way
	Waiting      int            `json:"waiting"`       // of these, deferred commands, and queries that wait for a change
	Sessions     int            `json:"sessions"`      // of clients, in the cluster

	Turns     Histogram `json:"turns"`     // of the event loop, with their waiting for the disk
	Syncs     Histogram `json:"syncs"`     // of the log: each append with its sync; empty without a file
	Applies   Histogram `json:"applies"`   // of committed entries, a page of them at a time
	Snapshots Histogram `json:"snapshots"` // of its own state, from the beginning until they are durable

	SlowestTurn   time.Duration `json:"slowest_turn_ns"`   // within the last 10 to 20 seconds
	SlowestAppend time.Duration `json:"slowest_append_ns"` // the same

	SnapshotsMade      uint64 `json:"snapshots_made"`
	SnapshotsFailed    uint64 `json:"snapshots_failed"`
	SnapshotsInstalled uint64 `json:"snapshots_installed"` // those of a leader
	SnapshotsSent      uint64 `json:"snapshots_sent"`      // to other servers, which have installed them
	SnapshotsLost      uint64 `json:"snapshots_lost"`      // that did not get through

	LogBytes      int64 `json:"log_bytes"`      // size of the log file; 0 without one
	SnapshotBytes int64 `json:"snapshot_bytes"` // of these the snapshot

	Connections ConnectionMetrics `json:"connections"`

	DroppedLogs uint64 `json:"dropped_logs"` // log messages that were not written: too many, or the log was too slow
}

// MemberMetrics is a member as the server sees it. Of the server itself, what links do is zero. What is known to the leader
// alone, or by what the other has told, is nil elsewhere.
type MemberMetrics struct {
	ID            uint64  `json:"id"`
	Addr          string  `json:"addr"`
	Role          string  `json:"role"`               // Voter, Learner; Joining and Leaving on the way
	Self          bool    `json:"self,omitempty"`     // it is the server asked
	Linked        bool    `json:"linked"`             // the link to it is up
	Lag           *uint64 `json:"lag,omitempty"`      // leader: entries of its log that the member does not have
	Progress      string  `json:"progress,omitempty"` // leader: as in MemberState
	Diverged      bool    `json:"diverged,omitempty"` // its state differed from the server's at the same index
	LogBytes      *int64  `json:"log_bytes,omitempty"`
	SnapshotBytes *int64  `json:"snapshot_bytes,omitempty"`

	QueueBytes   int    `json:"queue_bytes"`   // that wait in the link
	SentMessages uint64 `json:"sent_messages"` // over the link, since it was begun
	SentBytes    uint64 `json:"sent_bytes"`    // by these; those of snapshots are not among them
}

// RequestCount counts the requests of a method that were answered alike.
type RequestCount struct {
	Method string `json:"method"` // that of the API; Apply is Command, Query or LocalQuery; empty: none that servers know
	Code   int    `json:"code"`   // 0: a result; else the error's; 1000: any of the machine's own
	Count  uint64 `json:"count"`
}

// RequestTime tells how long the requests of a method took. What was refused before it came to the core is not among them, nor
// are local queries in process, which take less time than a clock.
type RequestTime struct {
	Method string    `json:"method"`
	Time   Histogram `json:"time"`
}

// ConnectionMetrics tells of the connections of clients and other servers.
type ConnectionMetrics struct {
	Open     int    `json:"open"`
	Accepted uint64 `json:"accepted"` // since the start
	Refused  uint64 `json:"refused"`  // of those that came, for want of room
	GaveWay  uint64 `json:"gave_way"` // idle ones, closed for newcomers
	CutOff   uint64 `json:"cut_off"`  // that held too much

	HeldBytes     int `json:"held_bytes"`     // read and no whole line yet, or answers that are not sent
	UnderwayBytes int `json:"underway_bytes"` // of requests that are not answered
	BudgetBytes   int `json:"budget_bytes"`   // what each of the two may come to: half of Limits.Budget
}
