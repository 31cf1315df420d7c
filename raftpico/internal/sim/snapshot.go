package sim

import (
	"errors"
	"io"
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// BeginSnapshot implements node.Env. The file is written some time later, at once, and takes the log's place some time
// after that.
func (s *server) BeginSnapshot(job *node.SnapshotJob) {
	done := func(err error) { s.node.SnapshotDone(job, err) }
	var r *storage.Replacement
	err := node.ErrSuperseded
	if s.receiving == nil {
		s.writesAnew()
		r, err = s.log.BeginReplace()
	}
	if err != nil {
		_ = job.Write(noFile{err})
		s.post(func() { done(err) })
		return
	}
	run := s.run
	s.w.after(time.Duration(s.w.rng.IntN(200))*time.Millisecond, func() {
		if s.run != run || s.node == nil {
			return
		}
		file := &noted{Replacement: r}
		err := job.Write(file)
		if err == nil {
			err = r.Sync()
		}
		s.w.after(time.Duration(s.w.rng.IntN(50))*time.Millisecond, func() {
			if s.run != run || s.node == nil {
				return
			}
			s.post(func() {
				s.finish()
				if err != nil {
					s.log.Abort(r)
				} else {
					err = s.disk.compact(file.records, func() error { return s.commit(r) })
				}
				if errors.Is(err, storage.ErrSuperseded) {
					err = node.ErrSuperseded
				}
				if err != nil && err != node.ErrSuperseded && !s.disk.broken {
					s.w.fail("%s can't make a snapshot, without cause: %v", s, err) // its log would grow for ever
				}
				done(err)
				if dead := s.log.Err(); dead != nil {
					s.node.Fail(dead)
				}
			})
		})
	})
}

// noted is a new log file that notes what is written.
type noted struct {
	*storage.Replacement
	records []*wire.Record
}

func (n *noted) Write(r *wire.Record) error {
	n.records = append(n.records, r)
	return n.Replacement.Write(r)
}

func (n *noted) WriteSnapshot(snap *wire.Snapshot, state func(io.Writer) error) error {
	n.records = append(n.records, &wire.Record{Snapshot: snap})
	return n.Replacement.WriteSnapshot(snap, state)
}

// noFile is a file that can't be written.
type noFile struct{ err error }

func (f noFile) Write(*wire.Record) error                                  { return f.err }
func (f noFile) WriteSnapshot(*wire.Snapshot, func(io.Writer) error) error { return f.err }

// writesAnew is called when a new log file is about to be written.
func (s *server) writesAnew() {
	s.finish()
	if s.cutAnew {
		s.cutAnew = false
		s.disk.broken = true
		s.fs.PowerOff(s.w.rng.IntN(16))
	}
}

func (s *server) commit(r *storage.Replacement) error {
	old, err := s.log.Commit(r)
	if old != nil {
		_ = old.Close()
	}
	return err
}

// Encode implements node.Env. The state is encoded some time later.
func (s *server) Encode(job *node.StateJob) {
	run := s.run
	s.w.after(time.Duration(s.w.rng.IntN(200))*time.Millisecond, func() {
		if s.run == run {
			err := job.Encode(func() bool { return false })
			s.post(func() { s.node.StateEncoded(job, err) })
		}
	})
}
