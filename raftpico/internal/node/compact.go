package node

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// compaction makes snapshots of this server's own state: when TakeSnapshot is applied, when the log has grown long, or
// when a new server needs a snapshot that names it. One is under way at a time. The state is captured here. It is
// encoded and written into a new file beside the loop (Env.BeginSnapshot), while the log goes on.
type compaction struct {
	job     *SnapshotJob // under way, or nil
	overdue bool         // it has taken longer than a caller of it could wait
	callers []snapshotCaller
	pause   time.Duration // after one that failed: before this time none is begun
	retry   time.Duration // after one that was superseded: at this time one is begun, if somebody still waits; 0: never
	grown   uint64        // bytes of entries applied since the last snapshot, and by how much more this one's turn comes earlier: see spread
	early   uint64        // how many bytes of log this server's snapshots come before those of the first member
	size    uint64        // bytes of the state in the last snapshot
	cost    uint64        // bytes that were written for it: also of the entries in its file, and of what was copied behind them
	failure string        // why the last one failed; empty: it did not
	missed  bool          // one was to begin while the machine was captured
	asked   uint64        // the index of the last TakeSnapshot: all servers' snapshots at it have a hash
	asksOwn bool          // one is to begin for a Backup: backup.go
}

// snapshotCaller waits for a snapshot at index or later to be durable.
type snapshotCaller struct {
	caller   Caller
	deadline time.Duration
	index    uint64
}

// SnapshotJob is a snapshot that is being made.
type SnapshotJob struct {
	Index    uint64
	snapshot *wire.Snapshot // without the user's state
	identity wire.Identity
	hard     wire.HardState
	prev     wire.EntryID // before the trailing entries
	entries  []*raftpb.Entry
	encode   func(io.Writer) error
	size     uint64 // of the user's state, when it is written
	sum      *sum   // of it, where others make one at the same index; or nil
	grown    uint64 // compaction.grown when it began
	began    time.Duration
}

// ErrSuperseded is why a SnapshotJob ended that gave way to a snapshot from the leader, or to the file where that is
// written.
var ErrSuperseded = errors.New("a snapshot from the leader takes its place")

// SnapshotFile is a new log file that is being written.
type SnapshotFile interface {
	Write(r *wire.Record) error
	// WriteSnapshot adds a record of s with the user's state that state writes: JSON without newlines.
	WriteSnapshot(s *wire.Snapshot, state func(io.Writer) error) error
}

// snapshotPause is how long nothing is tried after a snapshot that failed.
const snapshotPause = time.Second

// Write encodes the state into a new file, with all that belongs to it. It may be called on any goroutine, and must be
// called once, also where nothing can be written: then f says so.
func (j *SnapshotJob) Write(f SnapshotFile) error {
	if err := f.Write(&wire.Record{Identity: &j.identity}); err != nil {
		_ = encodeState(j.encode, broken{err}) // the machine waits for the end of its capture
		return err
	}
	err := f.WriteSnapshot(j.snapshot, func(w io.Writer) error {
		count := &counter{w, &j.size, j.sum}
		return encodeState(j.encode, count)
	})
	if err != nil {
		return err
	}
	return WriteEntries(f, j.hard, j.prev, j.entries)
}

// WriteEntries adds entries to a file, in lines that need little memory, each with the hard state. There may be many: of
// a snapshot all those not yet applied are among them.
func WriteEntries(f SnapshotFile, hard wire.HardState, prev wire.EntryID, rest []*raftpb.Entry) error {
	for {
		r, count := &wire.Record{HardState: &hard}, 0
		for size := 0; count < len(rest) && size < maxTurn; count++ {
			size += len(rest[count].GetData())
		}
		if count > 0 {
			r.LogEntries = &wire.LogEntries{Prev: prev, Entries: rest[:count]}
			prev = wire.EntryID{Term: rest[count-1].GetTerm(), Index: rest[count-1].GetIndex()}
		}
		if err := f.Write(r); err != nil {
			return err
		}
		if rest = rest[count:]; len(rest) == 0 {
			return nil
		}
	}
}

// broken fails every write.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// beginSnapshot captures the state as of the last applied entry, if none is under way.
func (n *Node) beginSnapshot() {
	n.compaction.missed = n.captured
	if n.removed || n.captured || n.clock.elapsed < n.compaction.pause {
		return
	}
	// NB: The new file gets all entries in memory, and the newest commit. What is saved afterwards is copied behind them. A line
	// that has gathered by now would come again, from before that commit, and storage would refuse the file, each time.
	if err := n.settle(); err != nil {
		n.failed = err
		return
	}
	encode, err := capture(n.state.machine)
	if err != nil {
		n.log.Error("no snapshot", Facts(err)...)
		n.snapshotFailed(err)
		return
	}
	s, conf := n.state, n.raft.log.conf
	job := &SnapshotJob{
		Index: s.applied.Index, identity: *n.identity, hard: n.raft.hard, encode: encode,
		snapshot: &wire.Snapshot{LastIncluded: s.applied, Voters: sorted(conf.GetVoters()), Learners: sorted(conf.GetLearners()),
			Time: s.time, Machines: wire.Machines{System: s.system.encode()}},
	}
	if n.compaction.asked == s.applied.Index {
		job.sum = n.newSum(ofSnapshot)
	}
	job.prev = n.raft.log.tail(s.applied.Index, n.cfg.Trailing)
	job.entries = n.raft.log.behind(job.prev)
	n.compaction.job, n.compaction.overdue, n.captured = job, false, true
	job.grown, n.compaction.grown, n.compaction.retry, job.began = n.compaction.grown, 0, 0, n.clock.elapsed
	if n.compaction.asked == s.applied.Index {
		n.compaction.early = 0 // all begin here
	}
	n.env.BeginSnapshot(job)
}

// SnapshotDone tells how Env.BeginSnapshot ended: the snapshot is durable, or err tells why not, ErrSuperseded where
// one from the leader has come meanwhile.
func (n *Node) SnapshotDone(job *SnapshotJob, err error) {
	if n.compaction.job != job {
		return
	}
	n.compaction.job, n.captured = nil, false
	if err != nil {
		n.compaction.grown += job.grown
		if errors.Is(err, ErrSuperseded) { // the leader's will do for whoever waits; or else there is time for another one
			n.compaction.retry = n.clock.elapsed + snapshotPause
			n.due(n.compaction.retry)
			return
		}
		if fmt.Sprintf("%.500s", err) != n.compaction.failure { // it is tried again and again: each reason is told once
			n.log.Error("no snapshot", append(Facts(err), "index", job.Index)...)
		}
		n.snapshotFailed(err)
		return
	}
	n.raft.log.wanted = false // what was asked for while this one was under way; the library asks again if it will not do
	// NB: One that takes the place of a spoiled snapshot may be as of the same index.
	if n.raft.snap == nil || n.raft.snap.LastIncluded.Index < job.Index {
		if err := n.raft.log.compact(job.snapshot, n.keepForOthers(job)); err != nil {
			n.failed = fmt.Errorf("node: keep the snapshot at %d: %w", job.Index, err)
			return
		}
	}
	n.counts.made++
	n.counts.snapshots.Observe(n.clock.elapsed - job.began)
	n.raft.snap = job.snapshot
	n.compaction.size, n.compaction.missed, n.compaction.failure = job.size, false, ""
	n.compaction.cost = job.size + job.length() + n.compaction.grown
	n.compaction.grown += n.spread()
	if job.sum != nil {
		n.noteHash(job.sum.hash())
	}
	n.log.Info("snapshot taken", "index", job.Index, "bytes", job.size)
	n.answerSnapshots(func(c snapshotCaller) bool { return n.answerSnapshot(c, job.Index) })
	if len(n.compaction.callers) > 0 || n.compaction.missed {
		n.beginSnapshot() // asked for while this one was under way
	}
}

// answerSnapshot answers a caller for whom a snapshot at index will do.
func (n *Node) answerSnapshot(c snapshotCaller, index uint64) bool {
	if c.index > index {
		return false
	}
	n.answer(c.caller, json.RawMessage(fmt.Sprintf(`{"snapshot_index":%d}`, index)), nil)
	return true
}

func (n *Node) snapshotFailed(err error) {
	n.counts.failed++
	n.compaction.pause, n.compaction.failure = n.clock.elapsed+snapshotPause, fmt.Sprintf("%.500s", err)
	n.answerSnapshots(func(c snapshotCaller) bool {
		n.answer(c.caller, nil, jsonrpc.ErrInternal.Because("no snapshot: "+err.Error()))
		return true
	})
}

// answerSnapshots drops the callers that f has answered.
func (n *Node) answerSnapshots(f func(snapshotCaller) bool) {
	kept := n.compaction.callers[:0]
	for _, c := range n.compaction.callers {
		if !f(c) {
			kept = append(kept, c)
		}
	}
	clear(n.compaction.callers[len(kept):])
	n.compaction.callers = kept
}

// takeSnapshot applies a TakeSnapshot. Every server takes its snapshot at this index, unless one is under way: then the
// next one is taken when that has ended. Our caller, if there is one, is answered when the snapshot is durable here.
func (n *Node) takeSnapshot(index uint64, caller Caller, deadline time.Duration) {
	if op, ok := caller.(*adminOp); ok { // what waits behind it need not wait for the disk
		n.admin.inflight = nil
		caller = op.caller
	}
	if caller != nil {
		n.compaction.callers = append(n.compaction.callers, snapshotCaller{caller, deadline, index})
		n.due(deadline)
	}
	hash, kept, err := n.hasherSum()
	switch {
	case !kept:
		n.compaction.asked = index
	case err == nil:
		n.noteHash(hash)
	}
	n.compaction.pause = 0
	n.beginSnapshot()
}

// joinSnapshot lets a caller wait for the snapshot under way, if somebody who waited for it has been answered 107. Most
// likely the same caller asks again. If each attempt asked for a newer snapshot, a server whose snapshots take longer
// than the deadline would never answer one.
func (n *Node) joinSnapshot(caller Caller, deadline time.Duration) bool {
	if n.compaction.job == nil || !n.compaction.overdue {
		return false
	}
	n.compaction.callers = append(n.compaction.callers, snapshotCaller{caller, deadline, n.compaction.job.Index})
	n.due(deadline)
	return true
}

// keepForOthers returns the place up to which entries may be forgotten when a snapshot is there: job.prev, or an
// earlier one if followers need more. What is kept for them is bounded, so that a follower that does not keep up makes
// no log grow:
//
//	a follower that is behind                 what it lacks, if that is less than the snapshot that it would get instead, and
//	                                          than half of what calls for the next one, or, with that, than twice
//	                                          Config.CompactAfter
//	one to which a snapshot is on its way     what comes behind that, if that is less than what calls for the next
//	                                          snapshot, or less than Config.Awaiting
func (n *Node) keepForOthers(job *SnapshotJob) wire.EntryID {
	if n.raft.role != raft.StateLeader {
		return job.prev
	}
	limit := long(n.cfg.CompactAfter, job.size)
	spare := n.cfg.CompactAfter - min(n.cfg.CompactAfter, limit-n.cfg.CompactAfter) // of twice CompactAfter
	behind := n.raft.log.tail(job.Index, min(job.size, max(limit/2, spare))).Index
	awaiting := n.raft.log.tail(job.Index, max(limit, n.cfg.Awaiting)).Index
	index := job.prev.Index
	n.raft.raw.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		switch {
		case pr.State == tracker.StateSnapshot:
			index = min(index, max(pr.PendingSnapshot, awaiting))
		case pr.RecentActive && id != n.identity.NodeID:
			index = min(index, max(pr.Match, behind))
		}
	})
	term, err := n.raft.log.Term(index)
	if err != nil {
		return job.prev // it is gone already
	}
	return wire.EntryID{Term: term, Index: index}
}

// compactIfLong begins a snapshot when the log has grown long. The log in memory, with what is kept for others that are behind,
// stays within half as much again as what calls for a snapshot, or twice CompactAfter; while a snapshot is on its way to another
// server, within twice what calls for one.
func (n *Node) compactIfLong() {
	if n.compaction.grown > n.long() {
		n.beginSnapshot()
	}
}

// long is how much log calls for this server's next snapshot.
func (n *Node) long() uint64 {
	return long(n.cfg.CompactAfter, max(n.compaction.size, n.compaction.cost))
}

// spread keeps servers from making their snapshots at the same time, by the same load: so a majority is not held up by them, nor
// do they share a disk where the servers do. The first member makes its own where the log is long, and each further one that much
// earlier that it comes into the widest gap that those before it leave (the golden section). It returns by how many bytes the
// next snapshot comes earlier for that than the last one did.
func (n *Node) spread() (earlier uint64) {
	rank, _ := slices.BinarySearch(confIDs(n.raft.log.conf), n.identity.NodeID)
	if early := n.long() / 1000 * uint64(rank*618%1000); early > n.compaction.early {
		earlier, n.compaction.early = early-n.compaction.early, early
	}
	return earlier
}

// length is about how many bytes the entries take in the file.
func (j *SnapshotJob) length() (bytes uint64) {
	for _, e := range j.entries {
		bytes += uint64(len(e.GetData())) + entryFrame
	}
	return bytes
}

// entryFrame is about what the log file adds to an entry's data, in bytes, with its share of a line.
const entryFrame = 64

// long is how much log, in bytes, calls for the next snapshot, where the last one cost so many: four times that, but at least
// CompactAfter, and no more than four times CompactAfter or what the last one cost. What it cost is all that was written for it:
// the state, the entries beside it, and what the log grew by meanwhile. So however large the state, and however fast the log
// grows, no more is written for snapshots than for the log, and a quarter of it as long as one costs no more than CompactAfter.
func long(compactAfter, cost uint64) uint64 {
	return max(compactAfter, cost, min(cheap*cost, cheap*compactAfter))
}

// cheap is how many bytes of log one of a snapshot may cost, as long as that asks for no more memory than it is worth.
const cheap = 4

func (n *Node) expireSnapshots() {
	if at := n.compaction.retry; at > 0 && at <= n.clock.elapsed {
		n.compaction.retry = 0
		n.beginSnapshot()
	}
	n.answerSnapshots(func(c snapshotCaller) bool {
		if !n.expired(c.deadline) {
			return false
		}
		n.answer(c.caller, nil, n.failure(ErrUnknown, "the snapshot is not durable yet"))
		n.compaction.overdue = n.compaction.overdue || n.compaction.job != nil && n.compaction.job.Index >= c.index
		return true
	})
}
