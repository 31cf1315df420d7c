package loop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// disk is the log file, or what stands for it in memory. Owner: the turn.
type disk struct {
	*self
	machine  between
	log      *storage.Log  // nil without a file
	memory   *memoryFile   // without a file: the last snapshot's state, or nil
	appends  slowness      // to the log, with their syncs
	syncs    api.Histogram // of these
	since    time.Time     // when what the turn waits for began; zero: for nothing. Guarded by machine
	slow     *time.Timer   // rings when that takes long: see watch.go
	saving   *saving       // under way beside the turn, or not yet told to the core; nil: nothing is
	last     time.Duration // how long the last sync took
	landings int           // lines that were saved beside
	known    node.LogState // as of since, or of what is under way beside

	logBytes, snapshotBytes atomic.Int64 // of the log file, for other servers
	stateHash               atomic.Pointer[wire.StateHash]
}

// open opens the log file and tells what it holds; the machine has the state that its snapshot holds. Without a file there is
// only a new instance.
func (d *disk) open() (node.Stored, error) {
	instance := random()
	if d.File == "" {
		return node.Stored{Instance: instance}, nil
	}
	if err := os.MkdirAll(filepath.Dir(d.File), 0o700); err != nil {
		return node.Stored{}, err
	}
	log, state, err := storage.Open(d.FS, d.File, instance)
	if err != nil {
		return node.Stored{}, err
	}
	if state.Cut > 0 {
		d.Logger.Warn("the log ended in the middle of a line that was never acknowledged; it was cut", "file", d.File, "bytes", state.Cut)
	}
	d.log = log
	stored := node.Stored{Instance: state.Header.Instance, Identity: state.Identity, Snapshot: state.Snapshot,
		HardState: state.HardState, Prev: state.Prev, Entries: state.Entries}
	if state.Snapshot != nil {
		if err := node.CheckVersion(d.Machine, state.Snapshot); err != nil {
			return node.Stored{}, errors.Join(err, log.Close())
		}
		if stored.StateSize, err = restore(d.Machine, log); err != nil {
			return node.Stored{}, errors.Join(fmt.Errorf("the snapshot in %s: %w", d.File, err), log.Close())
		}
	}
	return stored, nil
}

// restore sets a machine to the state in a log's snapshot, and returns its size in bytes.
func restore(m machine.Machine, log *storage.Log) (size uint64, err error) {
	state, err := log.OpenState()
	if err != nil {
		return 0, err
	}
	defer state.Close()
	install, err := node.Load(m, state, state.Size())
	if err != nil {
		return 0, err
	}
	return uint64(state.Size()), install()
}

func (d *disk) close() error {
	if d.log == nil {
		return nil
	}
	return d.log.Close()
}

// checkEvery is how often the log's name is looked up. It costs an idle server less than a heartbeat does.
const checkEvery = 2 * time.Second

// watchFile has the server fail when its log file is deleted, moved or replaced. It ends with the loop.
func (d *disk) watchFile() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.beside.ctx.Done():
			return
		case <-tick.C:
		}
		_ = d.ask(func() error { // one at a time, also where the loop hangs
			var err error
			if d.away(func() { err = d.log.Check() }); err != nil {
				d.node.Fail(err)
			}
			return nil
		})
	}
}

// Save implements node.Env.
func (d *disk) Save(r *wire.Record) (took time.Duration, err error) {
	if d.log != nil {
		if took, err = d.append(r); err != nil {
			return 0, err
		}
	}
	d.publish(r)
	return took, nil
}

// append appends to the log.
func (d *disk) append(r *wire.Record) (took time.Duration, err error) {
	began := d.away(func() { err = d.log.Append(r) })
	return d.appended(began, time.Now()), err
}

// appended notes how long an append took.
func (d *disk) appended(began, ended time.Time) (took time.Duration) {
	d.appends.note(began, ended)
	d.last = ended.Sub(began)
	d.syncs.Observe(d.last)
	return d.last
}

// away waits for what the disk does in f, and lets local queries be carried out meanwhile. If it takes long, the watch looks after
// those who wait. Nothing that they need may be touched in f. What is under way beside is waited for first.
func (d *disk) away(f func()) (began time.Time) {
	began = time.Now()
	d.known, d.since = d.LogState(), began
	if d.saving != nil {
		d.since = d.saving.began
	}
	d.slow.Reset(min(lookAfter, d.Deadline/4))
	d.machine.unlock()
	if d.saving != nil {
		<-d.saving.done
	}
	f()
	d.machine.lock()
	d.slow.Stop()
	d.since = time.Time{}
	return began
}

// Replace implements node.Env.
func (d *disk) Replace(records ...*wire.Record) error {
	if d.log != nil {
		var err error
		if d.away(func() { err = d.log.Replace(records...) }); err != nil {
			return err
		}
	}
	for _, r := range records {
		if snap := r.Snapshot; snap != nil && d.log == nil {
			d.memory = &memoryFile{at: snap.LastIncluded}
			d.memory.Buffer.Write(snap.Machines.User)
		}
	}
	d.publish(records...)
	return nil
}

// commit lets a new file take the log's place. The old one is freed elsewhere: for a large one that takes long.
func (d *disk) commit(r *storage.Replacement) (err error) {
	var old io.Closer
	d.away(func() { old, err = d.log.Commit(r) })
	if old != nil {
		d.beside.Go(func() { _ = old.Close() }) // it has no name any more
	}
	return err
}

// abort drops a new file, whose place is freed elsewhere too.
func (d *disk) abort(r *storage.Replacement) {
	d.away(func() { d.log.Disown(r) })
	d.beside.Go(r.Drop)
}

// stateAt opens the state in the last snapshot, if that is at this place.
func (d *disk) stateAt(at wire.EntryID) (state peer.State, ok bool) {
	if d.log == nil {
		if d.memory == nil || d.memory.at != at {
			return nil, false
		}
		return d.memory.open(), true
	}
	var stored *storage.UserState
	var err error
	if d.away(func() { stored, err = d.log.OpenState() }); err != nil {
		d.Logger.Error("snapshot not sent", "err", err)
		d.inbox.post(d.node.SnapshotSpoiled)
		return nil, false
	}
	if stored.At != at {
		_ = stored.Close()
		return nil, false
	}
	return stored, true
}

// LogState implements node.Stater.
func (d *disk) LogState() node.LogState {
	switch {
	case d.log == nil:
		return node.LogState{}
	case d.saving != nil && d.since.IsZero():
		return d.known
	case !d.since.IsZero():
		d.known.SlowestAppend = max(d.known.SlowestAppend, time.Since(d.since).Microseconds())
		return d.known // the turn is at it
	}
	return node.LogState{Bytes: d.log.Size(), SnapshotBytes: d.log.SnapshotSize(), Syncs: d.log.Syncs(),
		SlowestAppend: d.appends.slowest().Microseconds()}
}

// tellOthers makes the sizes of the log file, and the hash of the state, known to other servers.
func (d *disk) tellOthers() {
	if h := d.node.StateHash(); h.Index > 0 {
		if told := d.stateHash.Load(); told == nil || *told != h {
			d.stateHash.Store(new(h))
		}
	}
	d.tellSizes()
}

func (d *disk) tellSizes() {
	if d.log != nil && d.saving == nil {
		d.logBytes.Store(d.log.Size())
		d.snapshotBytes.Store(d.log.SnapshotSize())
	}
}

// newTimer is a timer that does not run.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
