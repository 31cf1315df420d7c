package sim

import (
	"math/rand/v2"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// besides are worlds in which lines are saved beside the turn (node/beside.go): each in the turn, or some time later, with
// messages, crashes and faults in between. Some disks hang.
type besides struct {
	rng   *rand.Rand // nil: all is saved in the turn. Its own, so that other worlds stay what they were
	share float64    // of lines that are saved beside
	about time.Duration
}

func (b *besides) begin(w *world) {
	if rng := rand.New(rand.NewPCG(w.cfg.Seed, 9)); w.cfg.Load == nil && rng.IntN(2) == 0 {
		*b = besides{rng, 0.3 + 0.7*rng.Float64(), time.Duration(1+rng.IntN(20)) * time.Millisecond}
	}
}

// saving is a line that is under way beside the turn.
type saving struct {
	record *wire.Record
	since  time.Duration // what is in it may have gathered since then
	began  time.Duration
	at     time.Duration // the same by the server's clock
	until  time.Duration // when it will be there
	done   bool          // it is, or has failed
	err    error
}

var _ node.Saver = (*server)(nil)

// Slow implements node.Saver.
func (s *server) Slow() bool {
	b := &s.w.besides
	return b.rng != nil && b.rng.Float64() < b.share
}

// SaveBeside implements node.Saver.
func (s *server) SaveBeside(r *wire.Record) {
	if s.beside != nil {
		s.w.fail("%s saves a line beside another one", s)
	}
	b := &s.w.besides
	took := time.Duration(min(b.rng.ExpFloat64(), 8) * float64(b.about))
	if s.w.now < s.w.cfg.Faults && b.rng.Float64() < 0.002 {
		took += time.Duration(b.rng.Int64N(int64(4 * time.Second)))
		s.w.result.Seen["save that hangs"]++
	}
	s.w.result.Seen["save beside"]++
	f, run := &saving{record: r, since: s.gatheredSince(), began: s.w.now, at: s.lookedAt(), until: s.w.now + took}, s.run
	s.beside = f
	s.disk.writing, s.disk.anew = []*wire.Record{r}, false
	s.w.at(f.until, func() {
		if s.run != run || s.beside != f {
			return
		}
		s.finish()
		s.post(func() {
			if s.beside == f {
				s.beside, s.landed, s.still = nil, landing{f.began, s.looked}, false
				s.node.Saved(f.until-f.began, f.err)
			}
		})
	})
}

// AwaitSave implements node.Saver. Time stands still here; the next turn is later by what it takes.
func (s *server) AwaitSave() (took time.Duration, err error) {
	s.finish()
	f := s.beside
	s.beside, s.landed, s.still, s.waited = nil, landing{f.began, s.looked}, false, max(s.waited, f.until)
	return f.until - f.began, f.err
}

// landing is how the last line beside the turn came to its end.
type landing struct {
	began time.Duration // when it began
	in    time.Duration // the turn that was told
}

// gatheredSince is since when what is to be saved now may have gathered behind the line that is under way, or just was.
func (s *server) gatheredSince() time.Duration {
	switch {
	case s.beside != nil:
		return s.beside.since
	case s.landed.in == s.looked:
		return s.landed.began
	}
	return s.w.now
}

// finish brings the line under way to the disk. Whoever else wants something of the log file waits for that.
func (s *server) finish() {
	f := s.beside
	if f == nil || f.done {
		return
	}
	f.done = true
	if f.err = s.w.levels.reads(s, f.record); f.err == nil {
		f.err = s.disk.write(s, false, []*wire.Record{f.record}, func() error { return s.log.Append(f.record) })
	}
}

// interrupt is called when the server ends: the line under way may have come to the disk, or not. If the power goes off,
// a part of it may.
func (s *server) interrupt(power bool) {
	f := s.beside
	if s.beside = nil; f == nil || f.done {
		return
	}
	switch how := s.w.besides.rng.IntN(3); {
	case how == 0:
		s.w.result.Seen["save lost"]++
		return
	case how == 1 && power:
		s.fs.PowerOff(s.w.besides.rng.IntN(2))
		s.w.result.Seen["save torn"]++
	default:
		s.w.result.Seen["save whole at the end"]++
	}
	if err := s.log.Append(f.record); err != nil && !s.disk.broken && err != memfs.ErrPowerOff {
		s.w.tracef("%s can't end its save: %v", s, err)
	}
}

// goesOn checks that a leader whose disk hangs does not go on: a save that takes longer than a tick is waited for.
func (s *server) goesOn(m *wire.Message) {
	if f := s.beside; f != nil && m.Raft.GetType() == raftpb.MsgHeartbeat {
		if hung := s.lookedAt() - f.at; hung > 3*s.w.leases.least()/10+10*time.Millisecond {
			s.w.fail("%s goes on, and its disk has hung for %v", s, hung)
		}
	}
}

// lookedAt is the time of this turn, by the server's clock.
func (s *server) lookedAt() time.Duration { return s.local(s.looked - s.began - s.slept) }
