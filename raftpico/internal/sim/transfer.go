package sim

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// transfer is a snapshot on its way from one server to another over a connection of its own, as package peer sends it and
// raftpico/internal/loop/receptions.go takes it in: announced, written into a new log file, loaded, given to the core.
type transfer struct {
	w        *world
	link     *link
	from, to *server
	toRun    int
	id       uint64 // the sender's
	line     []byte // the message
	state    []byte
	conn     *conn // the one beside it
	term     uint64
	index    uint64

	m            *wire.Message
	file         *storage.Replacement
	install      func() error
	installed    bool
	told         bool // the sender knows how it ended
	acknowledged bool // the receiver has said by itself that it has installed it, and the sender was not told before
}

// sendSnapshot begins a transfer, unless one is under way already.
func (c *conn) sendSnapshot(m *wire.Message, line []byte) bool {
	l := c.link
	// A leader keeps what comes behind a snapshot on its way, until it is told of its end, or hears that it was installed. In
	// between, if it is told first, it may drop that. And what it would send may be overtaken in the same turn.
	waits := func(m node.MemberState) bool { return m.ID == l.peer.ID && m.Progress == "Snapshot" }
	if old := l.last; old != nil && old.acknowledged && slices.ContainsFunc(c.from.node.State().Members, waits) && old.conn == c && old.term == m.Raft.GetTerm() {
		c.w.fail("%s has sent the snapshot at %d to %s, which has installed it, and does not have the entries behind it: now it sends the one at %d",
			c.from, old.index, c.to, m.Snapshot.LastIncluded.Index)
	}
	if t := l.sending; t != nil && t.conn == c && t.term == m.Raft.GetTerm() && t.index == m.Snapshot.LastIncluded.Index && !c.broken {
		return true // the library may ask for it twice in a turn
	}
	if l.sending != nil || c.broken {
		return false
	}
	state, err := c.from.log.OpenState()
	if err != nil {
		c.from.spoiled()
		return false
	}
	if state.At != m.Snapshot.LastIncluded {
		c.w.fail("%s has the state at %d for its snapshot at %d", c.from, state.At.Index, m.Snapshot.LastIncluded.Index)
	}
	all, err := io.ReadAll(state)
	_ = state.Close()
	if err != nil {
		c.from.spoiled()
		return false
	}
	t := &transfer{w: c.w, link: l, from: c.from, to: c.to, toRun: c.toRun, id: c.id, line: line, state: all, conn: c, term: m.Raft.GetTerm(), index: m.Snapshot.LastIncluded.Index}
	l.sending, l.last = t, t
	t.later(200*time.Millisecond, t.announce)
	return true
}

// spoiled tells a server that its disk has lost bits of its snapshot.
func (s *server) spoiled() {
	s.post(func() { s.node.SnapshotSpoiled() })
}

// later goes on with a transfer on the receiver's loop, if both sides are still there and can reach each other.
func (t *transfer) later(most time.Duration, step func() error) {
	t.w.after(t.w.net.latency()+time.Duration(t.w.rng.Int64N(int64(most))), func() {
		if t.to.run != t.toRun || t.from.run != t.link.run || t.w.net.cut(t.from, t.to) {
			t.lost(errAway)
			return
		}
		t.to.post(func() {
			err := step()
			if err != nil {
				t.lost(err)
			}
			if errors.Is(err, memfs.ErrPowerOff) {
				t.w.after(0, func() {
					if t.to.run == t.toRun {
						t.to.powerOff()
					}
				})
			}
		})
	})
}

// lost ends a transfer on both sides.
func (t *transfer) lost(err error) {
	s := t.to
	t.w.tracef("%s > %s  snapshot lost: %v", t.from, s, err)
	if s.run == t.toRun {
		s.post(func() {
			if s.receiving == t {
				s.receiving = nil
			}
			if t.file != nil && !t.installed {
				s.log.Abort(t.file)
			}
		})
	}
	t.over(func(n *node.Node, id uint64) { n.SnapshotLost(id) })
}

// over tells the sender.
func (t *transfer) over(tell func(*node.Node, uint64)) {
	l := t.link
	t.w.after(t.w.net.latency(), func() {
		t.from.postTo(l.run, func() { t.tell(tell) })
	})
}

// tell ends it at the sender, once.
func (t *transfer) tell(tell func(*node.Node, uint64)) {
	if t.told {
		return
	}
	l := t.link
	t.told, l.sending = true, nil
	if !t.acknowledged {
		l.last = nil
	}
	if !l.ended {
		tell(t.from.node, l.peer.ID)
	}
}

func (t *transfer) announce() error {
	s := t.to
	m, err := wire.DecodeMessage(t.line)
	if err != nil {
		t.w.fail("%s can't decode a snapshot of %s: %v", s, t.from, err)
	}
	t.m = m
	if len(s.ready) > 0 {
		return errors.New("another snapshot has just come")
	}
	if err := s.node.WantSnapshot(t.id, m); err != nil {
		return err
	}
	identity, _ := s.node.Identity()
	s.writesAnew()
	file, err := s.log.BeginAnew()
	if err != nil {
		return err
	}
	t.file, s.receiving = file, t
	if err := file.Write(&wire.Record{Identity: &identity}); err != nil {
		return err
	}
	t.later(100*time.Millisecond, t.write)
	return nil
}

func (t *transfer) write() error {
	w := t.file.BeginState(t.m.Snapshot)
	cut := t.w.rng.IntN(len(t.state) + 1)
	for _, piece := range [][]byte{t.state[:cut], t.state[cut:]} {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	var err error
	if t.install, err = node.Load(t.to.machine(), t.file.State(), w.Size()); err != nil {
		return err
	}
	t.later(50*time.Millisecond, t.arrive)
	return nil
}

func (t *transfer) arrive() error {
	s := t.to
	if s.receiving != t {
		return storage.ErrSuperseded
	}
	t.w.result.Messages++
	t.w.fold(t.line)
	t.w.tracef("%s > %s  %.300s", t.from, s, t.line)
	if err := s.node.Snapshot(t.id, t.m, uint64(len(t.state))); err != nil {
		return err
	}
	s.ready, s.still = append(s.ready, t), false
	return nil
}

// Install implements node.Env.
func (s *server) Install(snap *wire.Snapshot, hard *wire.HardState) error {
	for _, t := range s.ready {
		if t.m.Snapshot.LastIncluded != snap.LastIncluded || t.installed {
			continue
		}
		identity, _ := s.node.Identity()
		records := []*wire.Record{{Identity: &identity}, {Snapshot: snap}, {HardState: hard}}
		err := s.disk.write(s, true, records, func() error {
			if err := t.file.Write(records[2]); err != nil {
				return err
			}
			if err := t.install(); err != nil {
				s.w.fail("%s can't restore the snapshot at %d: %v", s, snap.LastIncluded.Index, err)
			}
			return s.commit(t.file)
		})
		if t.installed = err == nil; t.installed {
			s.meets("snapshot installed")
			s.installs++
		}
		s.receiving = nil
		return err
	}
	s.w.fail("%s has no state for the snapshot at %d", s, snap.LastIncluded.Index)
	return nil
}

// settleTransfers tells the senders of snapshots what a Flush has made of them.
func (s *server) settleTransfers() {
	for _, t := range s.ready {
		switch {
		case !t.installed:
			t.lost(errors.New("not wanted"))
		case s.w.net.cut(s, t.from):
			t.over(func(n *node.Node, id uint64) { n.SnapshotLost(id) })
		default:
			t.over(func(n *node.Node, id uint64) { n.SnapshotDelivered(id) })
		}
	}
	s.ready = nil
}

// restore sets the machine to the state in the log's snapshot.
func (s *server) restore() {
	state, err := s.log.OpenState()
	if err != nil {
		s.w.fail("%s can't open its snapshot: %v", s, err)
	}
	install, err := node.Load(s.machine(), state, state.Size())
	if err == nil {
		err = install()
	}
	if err != nil {
		s.w.fail("%s can't restore its snapshot: %v", s, err)
	}
	_ = state.Close()
}
