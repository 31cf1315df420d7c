package sim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// server is a machine at an address, whatever runs on it: a core with its log and its links, nothing while it is down,
// another instance after its file was deleted. It plays the part of raftpico's event loop, and is the core's Env.
type server struct {
	w    *world
	slot int
	addr string

	fs       *memfs.FS
	instance string // of the file
	disk     disk
	skew     time.Duration // of its wall clock

	run       int        // starts and ends so far: what an earlier run planned is void
	node      *node.Node // nil: down
	log       *storage.Log
	m         *keyValue
	began     time.Duration
	inbox     []func()
	turnAt    time.Duration // when the next turn is due
	busy      time.Duration // until then the last turn's syncs take
	paused    bool
	stopBy    time.Duration // not 0: it is being shut down
	links     map[uint64]*link
	pending   []*request  // handed to this run and not answered
	receiving *transfer   // writes a new file, or nil
	ready     []*transfer // whose state is there, for the next Flush
	answered  uint64      // the newest version that this run has answered to a command or query
	applied   uint64      // index, as of the last turn of this run
}

const never = time.Duration(1<<63 - 1)

func newServer(w *world, slot int) *server {
	s := &server{w: w, slot: slot, addr: fmt.Sprintf("s%d:1", slot)}
	s.wipe()
	s.start()
	return s
}

func (s *server) String() string { return fmt.Sprintf("s%d", s.slot) }

// wipe deletes the file of a server that is down.
func (s *server) wipe() { s.fs, s.disk, s.instance = memfs.New(), disk{}, "" }

// start starts the server from its file, as raftpico.Start does.
func (s *server) start() {
	s.run++
	log, state, err := storage.Open(s.fs, "log", fmt.Sprintf("instance%dr%d", s.slot, s.run))
	if err != nil {
		s.w.fail("%s can't open its log: %v", s, err)
	}
	s.disk.reopened(s, state)
	s.instance = state.Header.Instance
	s.log, s.m, s.links, s.receiving, s.ready = log, newKeyValue(s), map[uint64]*link{}, nil, nil
	s.began, s.turnAt, s.busy, s.stopBy, s.answered, s.applied = s.w.now, never, 0, 0, 0, 0
	if state.Snapshot != nil {
		s.restore()
	}
	logger := slog.New(slog.DiscardHandler)
	if s.w.cfg.Trace != nil {
		logger = slog.New(slog.NewTextHandler(traceWriter{s}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
	}
	n, err := node.New(node.Config{
		Machine: s.m, Addr: s.addr, Boot: fmt.Sprintf("boot%dr%d", s.slot, s.run),
		ClusterID: fmt.Sprintf("cluster%dr%d", s.slot, s.run), ClusterKey: "key",
		Deadline: s.w.clients.deadline, MaxPending: 20, MaxUncommitted: s.w.clients.maxUncommitted, CompactAfter: s.w.clients.compactAfter, Logger: logger,
	}, s, node.Stored{Instance: state.Header.Instance, Identity: state.Identity, Snapshot: state.Snapshot,
		HardState: state.HardState, Prev: state.Prev, Entries: state.Entries})
	if err != nil {
		s.w.fail("%s can't start: %v", s, err)
	}
	s.node = n
	s.w.tracef("%s starts, log up to %d, cut %d bytes", s, s.disk.last(), state.Cut)
	s.SetPeers(n.Peers())
	s.wakeAt(s.w.now)
}

// post hands something to the loop.
func (s *server) post(item func()) {
	s.inbox = append(s.inbox, item)
	s.wakeAt(s.w.now + time.Duration(s.w.rng.IntN(50))*time.Microsecond)
}

// wakeAt plans a turn.
func (s *server) wakeAt(at time.Duration) {
	at = max(at, s.busy, s.w.now)
	if s.turnAt <= at {
		return
	}
	s.turnAt = at
	run := s.run
	s.w.at(at, func() {
		if s.run == run && s.turnAt == at {
			s.turnAt = never
			s.turn()
		}
	})
}

// turn is a turn of the loop, as raftpico's loop.run makes it.
func (s *server) turn() {
	if s.paused || s.node == nil {
		return
	}
	w := s.w
	w.result.Turns++
	syncs := s.log.Syncs()
	s.node.SetTime(w.now-s.began, time.UnixMilli(1_700_000_000_000).Add(w.now+s.skew))
	items := s.inbox
	s.inbox = nil
	for _, item := range items {
		item()
	}
	s.node.Tick()
	err := s.node.Flush()
	s.settleTransfers()
	if err != nil {
		s.failed(err)
		return
	}
	w.checks.server(s)
	if s.stopBy > 0 && (!s.node.HandOver() && s.node.Pending() == 0 || w.now >= s.stopBy) {
		s.end("the server is stopping")
		return
	}
	s.busy = w.now + time.Duration(s.log.Syncs()-syncs)*(50*time.Microsecond+w.about(w.net.sync))
	if at, ok := s.node.Wake(); ok {
		s.wakeAt(s.began + at)
	}
}

// failed ends a server whose Flush has failed.
func (s *server) failed(err error) {
	if errors.Is(err, memfs.ErrPowerOff) {
		s.powerOff()
		return
	}
	s.w.tracef("%s fails: %v", s, err)
	if !s.disk.broken {
		s.w.fail("%s fails without cause: %v", s, err)
	}
	s.end("the server has failed")
}

// end ends the process in good order.
func (s *server) end(reason string) {
	s.w.tracef("%s ends: %s", s, reason)
	s.node.Stop(reason)
	if called := slices.IndexFunc(s.pending, func(r *request) bool { return r.called > 0 }); called >= 0 {
		s.w.fail("%s has stopped without answering %s", s, s.pending[called])
	}
	s.kill()
}

// kill ends the process. What it has written the operating system has.
func (s *server) kill() {
	_ = s.log.Close()
	s.down()
}

// powerOff ends the server with all that its disk has not synced.
func (s *server) powerOff() {
	s.w.tracef("%s loses power", s)
	s.fs.Crash(s.w.rng)
	s.down()
}

func (s *server) down() {
	s.run++
	s.node, s.log, s.inbox, s.paused = nil, nil, nil, false
	s.w.net.serverDown(s)
	lost := s.pending
	s.pending = nil
	for _, r := range lost {
		s.w.clients.lost(r)
	}
	s.w.faults.ended(s)
}

// Send implements node.Env.
func (s *server) Send(m *wire.Message) bool {
	l := s.links[m.To]
	return l != nil && l.conn != nil && l.conn.send(m)
}

// Answer implements node.Env.
func (s *server) Answer(c node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	s.w.clients.answer(s, c.(*request), result, err)
}

// Save implements node.Env.
func (s *server) Save(r *wire.Record) error {
	return s.disk.write(s, false, []*wire.Record{r}, func() error { return s.log.Append(r) })
}

// BeginSnapshot implements node.Env. The file is written some time later, at once, and takes the log's place some time
// after that.
func (s *server) BeginSnapshot(job *node.SnapshotJob) {
	done := func(err error) { s.node.SnapshotDone(job, err) }
	var r *storage.Replacement
	err := errReceiving
	if s.receiving == nil {
		r, err = s.log.BeginReplace()
	}
	if err != nil {
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
				if err != nil {
					s.log.Abort(r)
				} else {
					err = s.disk.compact(file.records, func() error { return s.commit(r) })
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

func (s *server) commit(r *storage.Replacement) error {
	old, err := s.log.Commit(r)
	if old != nil {
		_ = old.Close()
	}
	return err
}

// Encode implements node.Env.
func (s *server) Encode(job *node.StateJob) {
	err := job.Encode()
	s.post(func() { s.node.StateEncoded(job, err) })
}

// Replace implements node.Env.
func (s *server) Replace(records ...*wire.Record) error {
	return s.disk.write(s, true, records, func() error { return s.log.Replace(records...) })
}

// SetPeers implements node.Env.
func (s *server) SetPeers(peers []node.Peer) {
	if s.node == nil {
		return // the core is being made; start asks again afterwards
	}
	for _, id := range slices.Sorted(maps.Keys(s.links)) {
		if !slices.Contains(peers, s.links[id].peer) {
			s.links[id].end()
			delete(s.links, id)
			s.node.PeerDown(id)
		}
	}
	for _, p := range peers {
		if s.links[p.ID] == nil {
			l := &link{from: s, run: s.run, peer: p}
			s.links[p.ID] = l
			l.dial()
		}
	}
}

// Probe implements node.Env.
func (s *server) Probe(token uint64, addr string) {
	s.w.net.probe(s, addr, func(who node.Who, err error) { s.node.Probed(token, who, err) })
}

// traceWriter puts what a core logs into the trace.
type traceWriter struct{ s *server }

func (t traceWriter) Write(b []byte) (int, error) {
	t.s.w.tracef("%s %s", t.s, b[:len(b)-1])
	return len(b), nil
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
