package sim

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
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
	w        *world
	slot     int
	addr     string
	stranger bool // it would create the other cluster

	fs       *memfs.FS
	instance string // of the file
	disk     disk
	clocks
	joined   time.Duration // when it came into its cluster
	since    time.Duration // when it came to its address
	flipped  bool          // a bit of its file was flipped since it was open
	skew     time.Duration // of its wall clock
	jumped   time.Duration // when that last changed
	shaky    time.Duration // how far it is off, at most, at each look, besides
	trembles time.Duration // how far it is off in this turn
	slow     time.Duration // what a turn takes, on average, above what others need

	build     int           // of the machine: see upgrade.go
	level     int           // of its release: see levels.go
	heard     heardLevels   // in this run
	beside    *saving       // or nil
	landed    landing       // of the last one
	waited    time.Duration // until then the last turn has waited for such a one
	outdated  bool          // its last run has failed since its build or release was too old
	run       int           // starts and ends so far: what an earlier run planned is void
	node      *node.Node    // nil: down
	log       *storage.Log
	m         *keyValue
	began     time.Duration
	inbox     []func()
	turnAt    time.Duration // when the next turn is due
	busy      time.Duration // until then the last turn's syncs take
	paused    bool
	appends   []heardAppend // in this turn
	still     bool          // in this turn, nothing has happened yet that could change role, term or applied index
	left      bool          // the last turn has left something to do
	cutAnew   bool          // the power goes off when a new log file is being written
	stopBy    time.Duration // not 0: it is being shut down
	away      time.Duration // until then it is not started again
	links     map[uint64]*link
	pending   []*request    // handed to this run and not answered
	receiving *transfer     // writes a new file, or nil
	installs  int           // snapshots that were installed
	overdue   int           // the last run in which somebody waited in vain for a snapshot
	ready     []*transfer   // whose state is there, for the next Flush
	answered  uint64        // the newest version that this run has answered to a command or query
	told      []*request    // commands whose results this run has answered
	applied   uint64        // index, as of the last turn of this run
	leads     uint64        // the last term that this run has led
	timer     wire.EntryID  // the last Timer entry of this run that it has logged itself
	base      int64         // an applied time, Unix milliseconds,
	baseAt    time.Duration // and when it was applied, as elapsed tells it
	list      []byte        // memory for check.go
	fileSeen  time.Duration // when
}

const never = time.Duration(1<<63 - 1)

func newServer(w *world, slot int, stranger bool) *server {
	s := &server{w: w, slot: slot, addr: fmt.Sprintf("s%d:1", slot), stranger: stranger}
	s.wipe()
	w.extras.equip(s)
	w.leases.equip(s)
	s.start()
	return s
}

func (s *server) String() string { return fmt.Sprintf("s%d", s.slot) }

// cluster is what is known of the cluster that the server belongs to, or may come to belong to.
func (s *server) cluster() *checks {
	if s.w.away != nil && strings.HasPrefix(s.disk.identity.ClusterID, s.w.away.name) {
		return s.w.away
	}
	return s.w.home
}

// boot names this run.
func (s *server) boot() string { return fmt.Sprintf("boot%dr%d", s.slot, s.run) }

// wipe deletes the file of a server that is down.
func (s *server) wipe() { s.fs, s.disk, s.instance, s.flipped = memfs.New(), disk{}, "", false }

// start starts the server from its file, as raftpico.Start does. A server that is refused gets a new file.
func (s *server) start() {
	s.run++
	s.w.upgrades.install(s)
	s.w.levels.install(s)
	before := s.fileIfFlipped()
	log, state, err := storage.Open(s.fs, "log", fmt.Sprintf("instance%dr%d", s.slot, s.run))
	switch {
	case err == nil && s.flipped:
		s.w.result.Faults["bit flip mended"]++
	case err != nil && s.flipped:
		s.refused(before, err)
		s.wipe()
		s.start()
		return
	case err != nil:
		s.w.fail("%s can't open its log: %v", s, err)
	}
	s.disk.reopened(s, state)
	s.instance, s.flipped = state.Header.Instance, false
	s.log, s.links, s.receiving, s.ready = log, map[uint64]*link{}, nil, nil
	s.m = newKeyValue(s)
	s.began, s.turnAt, s.busy, s.stopBy, s.answered, s.applied, s.leads, s.told = s.w.now, never, 0, 0, 0, 0, 0, nil
	s.timer, s.base, s.baseAt, s.outdated = wire.EntryID{}, 0, 0, false
	s.slept, s.sleeps, s.stalls, s.hasty = 0, false, stall{}, false
	s.readers = nil
	if state.Snapshot != nil {
		if err := node.CheckVersion(s.machine(), state.Snapshot); s.w.upgrades.tooOld(s, err) {
			_ = log.Close()
			s.start()
			return
		}
		s.base = state.Snapshot.Time
		s.restore()
	}
	logger := slog.New(slog.DiscardHandler)
	if s.w.cfg.Trace != nil {
		logger = slog.New(slog.NewTextHandler(traceWriter{s}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
	}
	n, err := node.New(node.Config{
		Machine: s.machine(), Addr: s.addr, Boot: s.boot(),
		ClusterID: fmt.Sprintf("%s%dr%d", s.w.clusters()[s.would()].name, s.slot, s.run), ClusterKey: "key",
		Deadline: s.w.clients.deadline, MaxTimeout: s.w.extras.maxTimeout, Bounds: s.w.extras.bounds, MaxPending: 20, MaxWaiting: s.w.extras.maxWaiting, MaxUncommitted: s.w.clients.maxUncommitted, CompactAfter: s.w.clients.compactAfter,
		Trailing: s.w.clients.trailing, Awaiting: 1 << 40, // see sendSnapshot
		MessageSize: s.w.clients.messageSize, Inflight: 8 * s.w.clients.messageSize, PageSize: s.w.clients.pageSize,
		HeartbeatTicks: s.w.clients.heartbeatTicks, HoldCommands: s.w.clients.holdCommands, HoldNotices: s.w.clients.holdNotices, HoldReads: s.w.clients.holdCommands,
		Founders: s.w.founding.founders(s), CheckState: s.w.upgrades.checks, RemoveDead: s.w.replicas.removeDead, Logger: logger,
	}, s, node.Stored{Instance: state.Header.Instance, Identity: state.Identity, Snapshot: state.Snapshot,
		HardState: state.HardState, Prev: state.Prev, Entries: state.Entries})
	if err != nil {
		s.w.fail("%s can't start: %v", s, err)
	}
	s.node, s.left = n, true // what is known to be committed will be applied
	if state.Snapshot != nil {
		s.cluster().seats.sits(s, state.Snapshot.LastIncluded.Index) // it may have been lost before anybody saw that it had it
	}
	s.w.tracef("%s starts, log up to %d, cut %d bytes", s, s.disk.last(), state.Cut)
	s.meets("start")
	s.w.moves.begins(s)
	s.w.founding.begins(s)
	s.SetPeers(n.Peers())
	s.wakeAt(s.w.now)
}

// would is the number of the cluster that the server would create.
func (s *server) would() int {
	if s.stranger {
		return 1
	}
	return 0
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

// turn is a turn of the loop, as raftpico's loop.takeTurn makes it.
func (s *server) turn() {
	if s.paused || s.stalled || s.node == nil {
		return
	}
	w := s.w
	w.result.Turns++
	syncs := s.log.Syncs()
	s.still = !s.left
	s.trembles = w.extras.tremble(s)
	s.looked, s.turning = w.now, true
	defer func() { s.turning = false }()
	s.node.SetTime(s.elapsed(), s.wall())
	s.stall()
	items := s.inbox
	s.inbox = nil
	for _, item := range items {
		item()
	}
	s.node.Tick()
	if s.node.Gathering() && w.result.Turns%2 == 0 {
		s.node.Gathered()
	}
	err := s.node.Flush()
	s.settleTransfers()
	s.appends = s.appends[:0]
	if err != nil {
		s.cluster().failing(s)
		s.failed(err)
		return
	}
	s.looksAtFile()
	if s.fs.Off() { // who has heard of it has gone on, as after a snapshot that has failed
		s.powerOff()
		return
	}
	s.cluster().server(s)
	if s.stopBy > 0 && (!s.node.HandOver() && s.node.Pending() == 0 || w.now >= s.stopBy) {
		s.end("the server is stopping")
		return
	}
	s.busy = w.now + time.Duration(s.log.Syncs()-syncs)*(50*time.Microsecond+w.about(w.net.sync+s.slow))
	if s.slow > 0 {
		s.busy += w.about(s.slow)
	}
	s.busy = max(s.busy, s.waited)
	at, ok := s.node.Wake()
	if s.left = ok && at <= s.elapsed(); ok {
		s.wakeAt(s.due(at))
	}
	if w.leases.rng != nil && len(s.inbox) > 0 { // it has come in the middle of the turn
		s.wakeAt(w.now)
	}
}

// looksAtFile does so as raftpico's loop does, but more often: logs at rest give up their room. Nobody else touches the files.
func (s *server) looksAtFile() {
	if s.log.Err() != nil || s.beside != nil || s.w.now-s.fileSeen < 50*time.Millisecond {
		return
	}
	s.fileSeen = s.w.now
	if err := s.log.Check(); err != nil {
		s.w.fail("%s takes its own file for somebody else's: %v", s, err)
	}
}

// failed ends a server whose Flush has failed.
func (s *server) failed(err error) {
	if errors.Is(err, memfs.ErrPowerOff) {
		s.powerOff()
		return
	}
	s.w.tracef("%s fails: %v", s, err)
	if s.outdated = s.w.upgrades.tooOld(s, err) || s.w.levels.tooOld(s, err); s.outdated {
		s.end("the server has failed")
		return
	}
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
	s.interrupt(false)
	_ = s.log.Close()
	s.down()
}

// kill ends the process. What it has written the operating system has.
func (s *server) kill() {
	s.interrupt(false)
	s.fs.Kill()
	s.down()
}

// powerOff ends the server with all that its disk has not synced.
func (s *server) powerOff() {
	s.w.tracef("%s loses power", s)
	s.booted = s.w.now
	s.interrupt(true)
	s.fs.Crash(s.w.rng)
	s.down()
}

func (s *server) down() {
	s.run++
	s.node, s.log, s.inbox, s.paused, s.beside, s.waited = nil, nil, nil, false, nil, 0
	s.w.net.serverDown(s)
	lost := s.pending
	s.pending = nil
	for _, r := range lost {
		s.w.clients.lost(r)
	}
	s.w.faults.ended(s)
}

// Late implements node.Env.
func (s *server) Late() bool { return s.w.chance(0.1) }

// Sent implements node.Env: here nothing waits.
func (s *server) Sent() {}

// Send implements node.Env.
func (s *server) Send(m *wire.Message) bool {
	s.says(m)
	s.goesOn(m)
	s.w.levels.proposes(s, m)
	l := s.links[m.To]
	return l != nil && l.conn != nil && l.conn.send(m)
}

// Reaches implements node.Env.
func (s *server) Reaches(c node.Caller) bool { return !asked(c).gone }

// Answer implements node.Env.
func (s *server) Answer(c node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	s.w.clients.answer(s, asked(c), result, err)
}

// Save implements node.Env.
func (s *server) Save(r *wire.Record) (took time.Duration, err error) {
	if err := s.w.levels.reads(s, r); err != nil {
		return 0, err
	}
	// Time stands still here. What it is told to have taken makes more or fewer commands gather.
	s.saving = true
	s.stall()
	s.saving = false
	return s.w.clients.holdNotices, s.disk.write(s, false, []*wire.Record{r}, func() error { return s.log.Append(r) })
}

// Replace implements node.Env.
func (s *server) Replace(records ...*wire.Record) error {
	s.writesAnew()
	return s.disk.write(s, true, records, func() error { return s.log.Replace(records...) })
}

// SetPeers implements node.Env.
func (s *server) SetPeers(peers []node.Peer) {
	if s.node == nil {
		return // the core is being made; start asks again afterwards
	}
	if id, _ := s.node.Identity(); len(peers) == 0 && s.node.State().Removed {
		s.cluster().spared(s, id.NodeID, wire.RemoveNode) // it leaves for good
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

// Park implements node.Env.
func (s *server) Park(c node.Caller, _ int) (node.Caller, bool) { return s.w.extras.park(s.w, c) }

// Probe implements node.Env.
func (s *server) Probe(token uint64, addr string) {
	s.w.net.probe(s, addr, func(who node.Who, err error) { s.node.Probed(token, who, err) })
}
