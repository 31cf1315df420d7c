package sim

import (
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// levels are releases. In worlds with them some servers start as ones of level 0, and are of this release from one of their
// starts on, never the other way. One of level 0 stops at a command that needs more, and is upgraded then. That may happen
// only to one whose level was not known to the server that had the command logged.
type levels struct {
	rng *rand.Rand // nil: there are none. Its own, so that other worlds stay what they were
}

// heardLevels are what a run of a server was told by others, and when it has handed over what it proposed, by seq.
type heardLevels struct {
	levels   map[uint64]heardLevel
	proposed map[uint64]time.Duration
}

type heardLevel struct {
	level int
	at    time.Duration
}

func (l *levels) begin(w *world) {
	if rng := rand.New(rand.NewPCG(w.cfg.Seed, 7)); w.cfg.Load == nil && rng.IntN(3) == 0 {
		l.rng = rng
	}
}

// old tells whether the operator has not upgraded a server yet.
func (l *levels) old(s *server) bool { return s.level < wire.Level }

// install chooses the release that a server starts with. When faults have stopped, all run the newest.
func (l *levels) install(s *server) {
	s.heard = heardLevels{map[uint64]heardLevel{}, map[uint64]time.Duration{}}
	switch {
	case l.rng == nil, s.w.faults.stopped:
		s.level = wire.Level
	case s.run == 1:
		s.level = l.rng.IntN(wire.Level + 1)
	case l.rng.IntN(6) == 0:
		s.level = wire.Level
	}
}

// reads returns why a server can't save a line: it holds what its release does not know.
func (l *levels) reads(s *server, r *wire.Record) error {
	if l.rng == nil || r.LogEntries == nil {
		return nil
	}
	for _, e := range r.LogEntries.Entries {
		if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
			continue
		}
		b, err := wire.DecodeBatch(e.GetData())
		if err != nil {
			s.w.fail("%s saves %v: %v", s, e, err)
		}
		if c := b.Commands[0].System; c != nil && c.Level() > 0 {
			l.mayLog(s.w, b, c)
			if c.Level() > s.level {
				return &wire.UnknownError{What: "a command of a higher level", In: "an entry"}
			}
		}
	}
	return nil
}

// proposes notes when a server hands over what it proposes: it may be on its way for long.
func (l *levels) proposes(s *server, m *wire.Message) {
	if l.rng != nil && m.Propose != nil {
		s.heard.proposed[m.Propose.Seq] = s.w.now
	}
}

// mayLog checks that the server that had a command logged was told of no member that can't read it.
func (l *levels) mayLog(w *world, b *wire.Batch, c *wire.System) {
	for _, s := range w.servers {
		if s.node == nil || s.boot() != b.Boot {
			continue
		}
		st := s.node.State()
		if st.ActiveLevel >= c.Level() {
			return // one was logged before
		}
		at, sent := s.heard.proposed[b.Seq]
		if !sent {
			at = s.gatheredSince() // it leads; others may log it later, or before it
			s.heard.proposed[b.Seq] = at
		}
		w.result.Seen["first of its level"]++
		for _, m := range st.Members {
			heard, told := s.heard.levels[m.ID]
			if told && heard.at < at && heard.level < c.Level() && (c.RemoveServer == nil || c.RemoveServer.ID != m.ID) {
				w.fail("%s had %+v logged, which server %d of level %d can't read", s, c, m.ID, heard.level)
			}
		}
	}
}

// tooOld tells whether a server has stopped since its release is too old, as it must, and has the operator see to that.
func (l *levels) tooOld(s *server, err error) bool {
	if unknown := new(wire.UnknownError); s.level == wire.Level || !errors.As(err, &unknown) {
		return false
	}
	s.w.tracef("%s is of level %d: %v", s, s.level, err)
	s.w.result.Faults["old release stopped"]++
	s.level = wire.Level
	return true
}
