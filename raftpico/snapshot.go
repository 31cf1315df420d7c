package raftpico

import (
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
)

// BeginSnapshot implements node.Env. A goroutine owns the new file: it encodes the state, writes it, and follows what the
// loop appends to the old one meanwhile, until little is left to do for the loop. It ends with that, or with the server.
func (l *loop) BeginSnapshot(job *node.SnapshotJob) {
	if l.log == nil {
		l.server.helpers.Go(func() {
			_, err := job.Records()
			l.server.inbox.post(func() { l.node.SnapshotDone(job, err) })
		})
		return
	}
	r, err := l.log.BeginReplace()
	if err != nil {
		l.server.inbox.post(func() { l.node.SnapshotDone(job, err) })
		return
	}
	l.server.helpers.Go(func() {
		err := l.writeSnapshot(job, r)
		l.server.inbox.post(func() {
			if err != nil {
				l.log.Abort(r)
			} else {
				err = l.log.Commit(r)
			}
			l.node.SnapshotDone(job, err)
			if dead := l.log.Err(); dead != nil {
				l.node.Fail(dead) // nobody knows which file a crash would leave
			}
		}) // where the loop has ended, closing the log drops the new file
	})
}

// nearlyCaughtUp is how much may be left for the loop to copy in Commit, in bytes.
const nearlyCaughtUp = 256 << 10

// writeSnapshot writes the new file, on its goroutine.
func (l *loop) writeSnapshot(job *node.SnapshotJob, r *storage.Replacement) error {
	records, err := job.Records()
	if err != nil {
		return err
	}
	for _, record := range records {
		if err := r.Write(record); err != nil {
			return err
		}
	}
	for done := int64(-1); ; {
		var size int64
		if err := ask(l.server, func() error { size = l.log.Size(); return nil }); err != nil {
			return err
		}
		if done >= 0 && size-done < nearlyCaughtUp {
			return nil
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
