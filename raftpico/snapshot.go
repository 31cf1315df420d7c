package raftpico

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// BeginSnapshot implements node.Env. A goroutine owns the new file: it encodes the state, writes it, and follows what the
// loop appends to the old one meanwhile, until little is left to do for the loop. It ends with that, or with the server.
func (l *loop) BeginSnapshot(job *node.SnapshotJob) {
	s := l.server
	if l.log == nil {
		s.helpers.Go(func() {
			state := new(memoryFile)
			err := job.Write(wanted{state, s.ended})
			s.inbox.post(func() {
				if err == nil && (l.memory == nil || l.memory.at.Index < state.at.Index) {
					l.memory = state
				}
				l.node.SnapshotDone(job, err)
			})
		})
		return
	}
	var r *storage.Replacement
	err := errReceiving
	if in := l.receiving; in != nil && (in.m.Snapshot.LastIncluded.Index <= l.node.Committed() || in.silent() > receptionPatience) {
		l.receiving = nil // the log has passed it, or its sender is gone
	}
	if l.receiving == nil {
		r, err = l.log.BeginReplace()
	}
	if err != nil {
		s.helpers.Go(func() {
			err := job.Write(noFile{err})
			s.inbox.post(func() { l.node.SnapshotDone(job, err) })
		})
		return
	}
	s.helpers.Go(func() {
		err := l.writeSnapshot(job, r)
		taken := s.inbox.post(func() {
			if err != nil {
				l.abort(r)
			} else {
				err = l.commit(r)
			}
			l.node.SnapshotDone(job, err)
			if dead := l.log.Err(); dead != nil {
				l.node.Fail(dead) // nobody knows which file a crash would leave
			}
		})
		if !taken {
			r.Drop()
		}
	})
}

// wanted is a file of which nobody wants anything any more when the server has ended.
type wanted struct {
	node.SnapshotFile
	ended func() bool
}

func (f wanted) WriteSnapshot(s *wire.Snapshot, state func(io.Writer) error) error {
	return f.SnapshotFile.WriteSnapshot(s, func(w io.Writer) error { return state(node.Until{W: w, Ended: f.ended}) })
}

// ended tells whether the loop has.
func (s *Server) ended() bool {
	select {
	case <-s.loopDone:
		return true
	default:
		return false
	}
}

// errReceiving is why no snapshot is made.
var errReceiving = fmt.Errorf("raftpico: one from the leader is on its way")

// nearlyCaughtUp is how much may be left for the loop to copy in Commit, in bytes, at first.
const nearlyCaughtUp = 256 << 10

// writeSnapshot writes the new file, on its goroutine.
func (l *loop) writeSnapshot(job *node.SnapshotJob, r *storage.Replacement) error {
	if err := job.Write(wanted{r, l.server.ended}); err != nil {
		return err
	}
	left, enough := int64(math.MaxInt64), int64(nearlyCaughtUp)
	for done := int64(-1); ; {
		var size int64
		if err := ask(l.server, func() error { size = l.log.Size(); return nil }); err != nil {
			return err
		}
		if done >= 0 {
			before := left
			if left = size - done; left < enough {
				return nil
			}
			if left > before/2 { // the log grows so fast that there is always more
				enough *= 2
			}
		}
		if err := r.CatchUp(size); err != nil {
			return err
		}
		if err := r.Sync(); err != nil {
			return err
		}
		done = size
	}
}

// commit lets a new file take the log's place. The old one is freed elsewhere: for a large one that takes long.
func (l *loop) commit(r *storage.Replacement) error {
	old, err := l.log.Commit(r)
	if old != nil {
		l.server.helpers.Go(func() { _ = old.Close() }) // it has no name any more
	}
	return err
}

// abort drops a new file, whose place is freed elsewhere too.
func (l *loop) abort(r *storage.Replacement) {
	l.log.Disown(r)
	l.server.helpers.Go(r.Drop)
}

// Encode implements node.Env.
func (l *loop) Encode(job *node.StateJob) {
	l.server.helpers.Go(func() {
		err := job.Encode(l.server.ended)
		l.server.inbox.post(func() { l.node.StateEncoded(job, err) })
	})
}

// sendSnapshot hands a MsgSnap, with the state in the log's snapshot, to a link.
func (l *loop) sendSnapshot(link *peer.Link, m *wire.Message) bool {
	if l.log == nil {
		if l.memory == nil || l.memory.at != m.Snapshot.LastIncluded {
			return false
		}
		return link.SendSnapshot(m, l.memory.open())
	}
	state, err := l.log.OpenState()
	if err != nil {
		l.server.opts.Logger.Error("snapshot not sent", "err", err)
		l.server.inbox.post(l.node.SnapshotSpoiled)
		return false
	}
	if state.At != m.Snapshot.LastIncluded {
		_ = state.Close()
		return false
	}
	return link.SendSnapshot(m, state)
}

// memoryFile is the snapshot of a server without a file.
type memoryFile struct {
	bytes.Buffer
	at wire.EntryID
}

// Write implements node.SnapshotFile, by the name that its buffer's Write would have.
func (f *memoryFile) Write(*wire.Record) error { return nil }

// WriteSnapshot implements node.SnapshotFile.
func (f *memoryFile) WriteSnapshot(s *wire.Snapshot, state func(io.Writer) error) error {
	f.at = s.LastIncluded
	return state(&f.Buffer)
}

// open reads the state, which must not change any more.
func (f *memoryFile) open() peer.State { return memoryState{bytes.NewReader(f.Bytes())} }

type memoryState struct{ *bytes.Reader }

func (memoryState) Close() error { return nil }

// noFile is a file that can't be written.
type noFile struct{ err error }

func (f noFile) Write(*wire.Record) error                                  { return f.err }
func (f noFile) WriteSnapshot(*wire.Snapshot, func(io.Writer) error) error { return f.err }
