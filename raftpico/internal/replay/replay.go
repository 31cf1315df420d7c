// Package replay carries out a log file again, up to any entry, without a server: the core of one takes the file, and
// nothing else ever comes. So commands, sessions, timers and deferred answers are what they were.
package replay

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Info tells what was carried out.
type Info struct {
	At       wire.EntryID // the last entry carried out
	Time     int64        // as of that, Unix milliseconds
	Version  int          // of the machine, as of that
	Sessions int          // as of that
	Snapshot uint64       // the index where the file's state begins
	Commit   uint64       // up to here entries are certainly committed
	Last     uint64       // of the file
}

// Run puts a machine, which must be new, into the state that it had behind the entry upTo; 0 means all that is certainly
// committed. The log may be that of a running server; nothing of it is changed. Bounds are those of sessions, zero are the
// product's.
func Run(fsys storage.FS, path string, m machine.Machine, upTo uint64, bounds node.Bounds) (Info, error) {
	file, state, err := storage.Read(fsys, path)
	if err != nil {
		return Info{}, err
	}
	defer file.Close()
	if state.Identity == nil || state.Snapshot == nil {
		return Info{}, fmt.Errorf("%s has no state: its server belonged to no cluster, or had not learned the state yet", path)
	}
	info := Info{Snapshot: state.Snapshot.LastIncluded.Index, Commit: state.HardState.Commit, Last: state.Prev.Index + uint64(len(state.Entries))}
	if upTo == 0 {
		upTo = info.Commit
	}
	if upTo < info.Snapshot || upTo > info.Last {
		return info, fmt.Errorf("%s covers the states behind entries %d to %d, not %d", path, info.Snapshot, info.Last, upTo)
	}
	if err := node.CheckVersion(m, state.Snapshot); err != nil {
		return info, err
	}
	if err := restore(m, file); err != nil {
		return info, err
	}
	state.Entries = state.Entries[:max(upTo, state.Prev.Index)-state.Prev.Index]
	state.HardState.Commit = upTo
	return info, info.carryOut(m, state, bounds)
}

// restore sets a machine to the state in the file's snapshot.
func restore(m machine.Machine, file *storage.Reading) error {
	state, err := file.OpenState()
	if err != nil {
		return err
	}
	install, err := node.Load(m, state, state.Size())
	if err != nil {
		return err
	}
	return install()
}

// plenty is a bound that is never met.
const plenty = 1 << 60

// carryOut lets a core apply what is committed.
func (i *Info) carryOut(m machine.Machine, s *storage.State, bounds node.Bounds) error {
	w := &world{}
	n, err := node.New(node.Config{
		Machine: m, Addr: "replay", Boot: "replay", Deadline: time.Hour, MaxTimeout: time.Hour, MaxPending: 1, MaxUncommitted: plenty, CompactAfter: plenty,
		MessageSize: 1 << 20, Inflight: 1 << 20, PageSize: 1 << 20, HeartbeatTicks: 1, Bounds: bounds, Logger: slog.New(slog.DiscardHandler),
	}, w, node.Stored{Instance: s.Header.Instance, Identity: s.Identity, Snapshot: s.Snapshot, HardState: s.HardState, Prev: s.Prev, Entries: s.Entries})
	if err != nil {
		return err
	}
	for {
		before := n.State().AppliedIndex
		if err := n.Flush(); err != nil {
			return node.Traced(err)
		}
		w.catchUp(n)
		st := n.State()
		if st.AppliedIndex >= s.HardState.Commit {
			i.At, i.Time, i.Version, i.Sessions = n.Applied(), st.AppliedTime, st.ActiveVersion, st.Sessions
			return nil
		}
		if st.AppliedIndex == before {
			return fmt.Errorf("the log stops at entry %d, before %d", before, s.HardState.Commit)
		}
	}
}

// world is the core's environment, in which nothing happens.
type world struct {
	snapshots []*node.SnapshotJob
	states    []*node.StateJob
}

// catchUp ends what the core has begun: snapshots and hashes, which nobody wants.
func (w *world) catchUp(n *node.Node) {
	for _, job := range w.snapshots {
		_ = job.Write(nowhere{})
		n.SnapshotDone(job, node.ErrSuperseded)
	}
	for _, job := range w.states {
		n.StateEncoded(job, job.Encode(func() bool { return true }))
	}
	w.snapshots, w.states = nil, nil
}

var errReplay = errors.New("this is a replay, and writes nothing")

type nowhere struct{ node.SnapshotFile }

func (nowhere) Write(*wire.Record) error { return errReplay }

func (w *world) Send(*wire.Message) bool                             { return false }
func (w *world) Sent()                                               {}
func (w *world) Answer(node.Caller, json.RawMessage, *jsonrpc.Error) {}
func (w *world) Park(c node.Caller, _ int) (node.Caller, bool)       { return nil, false }
func (w *world) Reaches(node.Caller) bool                            { return false }
func (w *world) Save(*wire.Record) (time.Duration, error)            { return 0, errReplay }
func (w *world) Replace(...*wire.Record) error                       { return errReplay }
func (w *world) BeginSnapshot(job *node.SnapshotJob)                 { w.snapshots = append(w.snapshots, job) }
func (w *world) Install(*wire.Snapshot, *wire.HardState) error       { return errReplay }
func (w *world) Encode(job *node.StateJob)                           { w.states = append(w.states, job) }
func (w *world) SetPeers([]node.Peer)                                {}
func (w *world) Late() bool                                          { return false }
func (w *world) Uptime() (time.Duration, bool)                       { return 0, false }
func (w *world) Probe(uint64, string)                                {}
