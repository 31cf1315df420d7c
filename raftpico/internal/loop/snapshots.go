package loop

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/raftpico/go/raftpico/internal/advice"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// snapshots makes those of this server's own state. Owner: the turn; what is written is written beside it.
type snapshots struct{ *receptions }

// BeginSnapshot implements node.Env. A goroutine owns the new file: it encodes the state, writes it, and follows what the
// loop appends to the old one meanwhile, until little is left to do for the loop. It ends with that, or with the server.
func (s *snapshots) BeginSnapshot(job *node.SnapshotJob) {
	if s.log == nil {
		s.beside.Go(func() { s.intoMemory(job) })
		return
	}
	var r *storage.Replacement
	err := errReceiving
	if s.giveWay() {
		s.away(func() { r, err = s.log.BeginReplace() })
	}
	if err != nil {
		s.beside.Go(func() {
			err := job.Write(noFile{err})
			s.inbox.post(func() { s.node.SnapshotDone(job, advice.On(err)) })
		})
		return
	}
	s.beside.Go(func() { s.intoFile(job, r) })
}

// errReceiving is why no snapshot is made.
var errReceiving = fmt.Errorf("raftpico: %w", node.ErrSuperseded)

func (s *snapshots) intoMemory(job *node.SnapshotJob) {
	state := new(memoryFile)
	err := job.Write(wanted{state, s.over})
	s.inbox.post(func() {
		switch {
		case err != nil:
		case s.memory != nil && s.memory.at.Index >= state.at.Index: // one from the leader has come meanwhile
			err = node.ErrSuperseded
		default:
			s.memory = state
		}
		s.node.SnapshotDone(job, advice.On(err))
	})
}

func (s *snapshots) intoFile(job *node.SnapshotJob, r *storage.Replacement) {
	err := s.write(job, r)
	taken := s.inbox.post(func() {
		if err != nil {
			s.abort(r)
		} else {
			err = s.commit(r)
		}
		if errors.Is(err, storage.ErrSuperseded) {
			err = fmt.Errorf("%w: %w", node.ErrSuperseded, err)
		}
		s.node.SnapshotDone(job, advice.On(err))
		if dead := s.log.Err(); dead != nil {
			s.node.Fail(dead) // nobody knows which file a crash would leave
		}
	})
	if !taken {
		r.Drop()
	}
}

// nearlyCaughtUp is how much may have come since the writer was last told, in bytes, at first, when it is through.
const nearlyCaughtUp = 256 << 10

// write writes the new file, on its goroutine.
func (s *snapshots) write(job *node.SnapshotJob, r *storage.Replacement) error {
	if err := job.Write(wanted{r, s.over}); err != nil {
		return err
	}
	for before, enough := math.MaxInt, nearlyCaughtUp; ; {
		if err := r.Sync(); err != nil {
			return err
		}
		var news []*wire.Record
		if err := s.ask(func() error { s.away(func() { news = s.log.News(r) }); return nil }); err != nil {
			return err
		}
		left := 0
		for _, record := range news {
			left += wire.SizeOf(record)
		}
		if err := r.CatchUp(news); err != nil || left < enough {
			return err
		}
		if left > before/2 { // the log grows so fast that there is always more
			enough *= 4
		}
		before = left
	}
}

// Encode implements node.Env.
func (s *snapshots) Encode(job *node.StateJob) {
	s.beside.Go(func() {
		err := job.Encode(s.over)
		s.inbox.post(func() { s.node.StateEncoded(job, err) })
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

// noFile is a file that can't be written.
type noFile struct{ err error }

func (f noFile) Write(*wire.Record) error                                  { return f.err }
func (f noFile) WriteSnapshot(*wire.Snapshot, func(io.Writer) error) error { return f.err }
