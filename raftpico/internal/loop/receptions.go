package loop

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// receptions are the snapshots on their way in. Owner: the turn, but for loading.
type receptions struct {
	*disk
	receiving *Reception   // writes a new file, or nil
	ready     []*Reception // whose state is there, for the next Flush
	loading   sync.Mutex   // one Load at a time
}

// Reception is a snapshot on its way in (package peer, bulk.go). The reader of its connection, which owns it, writes the
// state into a new log file, piece by piece, and has the machine load it; the loop is asked before, and puts it in place at
// the end. One at a time: a newer one supersedes an older one, whose sender is then told.
type Reception struct {
	all   *receptions
	from  uint64
	m     *wire.Message
	bytes int64 // of the state, as announced

	file    *storage.Replacement // nil: the server has none
	memory  *memoryFile          // instead
	state   sink
	checked *jsonrpc.Compactor // what comes goes through it into state
	crc     uint32
	came    int64        // bytes so far
	heard   atomic.Int64 // when, in Unix nanoseconds

	install   func() error // puts the state into the machine
	installed bool
	done      chan error // capacity 1
}

// sink is where a state is written.
type sink interface {
	io.Writer
	Close() error
	Size() int64
}

// receptionPatience is how long a sender may be silent while a snapshot of this server's own is wanted.
const receptionPatience = 30 * time.Second

// MaxStateDepth bounds the nesting of another server's line: that of a machine's state in a snapshot, and the envelope.
const MaxStateDepth = 2048

// silent is how long nothing has come.
func (r *Reception) silent() time.Duration { return time.Since(time.Unix(0, r.heard.Load())) }

// receive begins to take in a snapshot from a member, if the core wants it. The caller is its connection's reader.
func (a *receptions) receive(from uint64, m *wire.Message, bytes int64) (*Reception, error) {
	r := &Reception{all: a, from: from, m: m, bytes: bytes, done: make(chan error, 1)}
	r.heard.Store(time.Now().UnixNano())
	if err := a.ask(func() error { return a.begin(r) }); err != nil {
		return nil, err
	}
	r.checked = jsonrpc.NewCompactor(r.state, MaxStateDepth)
	return r, nil
}

func (a *receptions) begin(r *Reception) error {
	if len(a.ready) > 0 {
		return node.ErrRejected.Because("another snapshot has just come")
	}
	if err := a.node.WantSnapshot(r.from, r.m); err != nil {
		return err
	}
	if a.log == nil {
		r.memory = &memoryFile{at: r.m.Snapshot.LastIncluded}
		r.state = memoryWriter{&r.memory.Buffer}
		return nil
	}
	identity, _ := a.node.Identity()
	var file *storage.Replacement
	var err error
	a.away(func() {
		if file, err = a.log.BeginAnew(); err == nil {
			if err = file.Write(&wire.Record{Identity: &identity}); err != nil {
				a.log.Abort(file)
			}
		}
	})
	if err != nil {
		return err
	}
	r.file, r.state = file, file.BeginState(r.m.Snapshot)
	a.receiving = r
	return nil
}

// giveWay ends a reception that keeps the new file's name for nothing: the log has passed it, or its sender is gone.
// It reports whether that name is free.
func (a *receptions) giveWay() bool {
	if r := a.receiving; r != nil && (r.m.Snapshot.LastIncluded.Index <= a.node.Committed() || r.silent() > receptionPatience) {
		a.receiving = nil
	}
	return a.receiving == nil
}

// Write takes the next piece.
func (r *Reception) Write(data []byte) (int, error) {
	r.heard.Store(time.Now().UnixNano())
	if r.came += int64(len(data)); r.came > r.bytes {
		return 0, fmt.Errorf("raftpico: more than the %d bytes announced", r.bytes)
	}
	r.crc = crc32.Update(r.crc, peer.Castagnoli, data)
	n, err := r.checked.Write(data)
	if err != nil {
		return n, fmt.Errorf("raftpico: write a snapshot: %w", err)
	}
	return n, nil
}

// Install has the machine load what came, and the loop put it in place; it returns when that is done. Then the reception is over.
func (r *Reception) Install(crc uint32) error {
	if err := r.load(crc); err != nil {
		return err
	}
	if !r.all.inbox.post(func() { r.all.arrived(r) }) {
		return errStopped
	}
	select {
	case err := <-r.done:
		return err
	case <-r.all.ended:
		return errStopped
	}
}

// load completes the new file but for its last line, and reads the state from it.
func (r *Reception) load(crc uint32) error {
	if err := r.checked.Close(); err != nil {
		return err
	}
	if err := r.state.Close(); err != nil {
		return err
	}
	if r.crc != crc || r.state.Size() != r.bytes {
		return fmt.Errorf("raftpico: the snapshot is not what was sent: %d of %d bytes", r.state.Size(), r.bytes)
	}
	var state io.Reader
	if r.memory != nil {
		state = r.memory.open()
	} else {
		if err := r.file.Sync(); err != nil {
			return err
		}
		state = r.file.State()
	}
	r.all.loading.Lock()
	defer r.all.loading.Unlock()
	var err error
	if r.install, err = node.Load(r.all.Machine, state, r.bytes); err != nil {
		r.all.Logger.Error("snapshot not loaded", node.Facts(err)...)
	}
	return err
}

// Drop gives up. The reader does not touch the reception any more.
func (r *Reception) Drop() {
	a := r.all
	taken := a.inbox.post(func() {
		if a.receiving == r {
			a.receiving = nil
		}
		if r.file != nil && !r.installed {
			a.abort(r.file)
		}
	})
	if !taken && r.file != nil && !r.installed {
		r.file.Drop() // closing the log removes its name
	}
}

// arrived gives a snapshot whose state is there to the core. The next Flush decides on it.
func (a *receptions) arrived(r *Reception) {
	if r.file != nil && a.receiving != r {
		r.done <- storage.ErrSuperseded
		return
	}
	if err := a.node.Snapshot(r.from, r.m, uint64(r.bytes)); err != nil {
		r.done <- err
		return
	}
	a.ready = append(a.ready, r)
}

// Install implements node.Env.
func (a *receptions) Install(snap *wire.Snapshot, hard *wire.HardState) error {
	for _, r := range a.ready {
		if r.m.Snapshot.LastIncluded == snap.LastIncluded && !r.installed {
			return a.put(r, hard)
		}
	}
	return errors.New("raftpico: its state is not there")
}

// put puts what came in the place of log and state.
func (a *receptions) put(r *Reception, hard *wire.HardState) error {
	if r.file != nil {
		var err error
		if a.away(func() { err = r.file.Write(&wire.Record{HardState: hard}) }); err != nil {
			return err
		}
	}
	if err := r.install(); err != nil {
		return err
	}
	if r.file != nil {
		if err := a.commit(r.file); err != nil {
			return err
		}
	} else {
		a.memory = r.memory
	}
	r.installed = true
	if a.receiving == r {
		a.receiving = nil
	}
	return nil
}

// settle tells those who sent snapshots what a Flush has made of them.
func (a *receptions) settle() {
	for _, r := range a.ready {
		if r.installed {
			r.done <- nil
		} else {
			r.done <- errors.New("raftpico: the snapshot is not wanted any more")
		}
	}
	a.ready = nil
}
