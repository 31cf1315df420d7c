// Package node is the deterministic core of a server: the Raft library, the machines, the member list and the callers
// that wait. It has no goroutine, clock, socket or file of its own, and no chance.
//
// Things come in as calls (SetTime, Tick, Request, Message, PeerUp, PeerDown, Hello, Probed) and leave through [Env].
// Calls only take things in. [Node.Flush] does the work of a turn: it proposes what waits as one batch, asks for one
// read index, and drives the library until it has nothing ready. The same core runs behind the real event loop, in the
// simulator, and in transcript tests where three cores are driven by hand.
//
// Owner: whoever does a turn of the event loop. Only LocalQuery, LeasedQuery, and what overdue.go holds, may be called in between.
// Nothing here locks, and nothing here waits.
package node

import (
	"cmp"
	"fmt"
	"hash/crc64"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Env is the world outside the core. The core calls it only from inside the calls made to it.
type Env interface {
	// Send hands m to the link to m.To. The link drops m when it dies, and never sends it twice. Send reports false if
	// there is no live link or its queue is full: then m was not handed over. With a MsgSnap goes the user's state that
	// is in the log's snapshot, on a connection of its own. SnapshotDelivered or SnapshotLost tells how that ended.
	Send(m *wire.Message) bool
	// Sent tells that what Send and Answer took should go out now, and not only at the end of the Flush, since
	// something that takes long follows.
	Sent()
	// Answer answers a caller, once. Either result is JSON, or err is not nil. The result is given away.
	Answer(c Caller, result json.RawMessage, err *jsonrpc.Error)
	// Park tells that a caller will wait for long. What it returns takes the caller's place from now on. It reports false
	// if this caller may not, since free more may wait, and its client has many waiting already.
	Park(c Caller, free int) (Caller, bool)
	// Reaches tells whether an answer to a caller would reach it, if it were given now. It may say so in vain, never the
	// other way round.
	Reaches(c Caller) bool
	// Save makes one record durable at the end of the log, and tells how long that took.
	Save(r *wire.Record) (took time.Duration, err error)
	// Replace makes the log consist of these records, atomically.
	Replace(records ...*wire.Record) error
	// BeginSnapshot makes the log begin with a snapshot. It has job write a new file, beside the loop, and copies what
	// is saved meanwhile behind it. SnapshotDone tells how it ended.
	BeginSnapshot(job *SnapshotJob)
	// Install takes a snapshot of another server. It puts the user's state, which came before the MsgSnap, into the
	// machine, and makes the log consist of the identity, the snapshot and the hard state, atomically.
	Install(s *wire.Snapshot, hard *wire.HardState) error
	// Encode has job write the machine's state, beside the loop. The result is told through StateEncoded.
	Encode(job *StateJob)
	// SetPeers tells which servers to keep links to, ascending by id.
	SetPeers(peers []Peer)
	// Uptime is the time since the machine was started, by a clock that nobody sets and that goes on while the machine is
	// suspended. It is read anew with each call. It reports false where there is no such clock. It may be called in between,
	// as LocalQuery is.
	Uptime() (d time.Duration, ok bool)
	// Late tells that this turn has taken long, so that the rest should wait for the next one.
	Late() bool
	// Probe asks who listens at addr. The answer comes back through Probed.
	Probe(token uint64, addr string)
}

// Caller is whoever waits for an answer. The core hands it back to Env.Answer and never looks inside.
type Caller any

// Peer is another server, as links need it, and where it may be: at its place rather than where a hint says, and there rather
// than at its address.
type Peer struct {
	ID       uint64
	Addr     string // on the list; of a server that is on none, what it says itself
	Instance string
	Place    string // where it has proved to be, if that is another address
	Hint     string // where it was found, if that is yet another one: nothing is proven
}

// Node is the core of one server. See the package comment.
type Node struct {
	cfg Config
	env Env
	log *slog.Logger
	place
	duty

	raft       core
	state      replicated
	clock      clock
	peers      peers
	following  following
	commands   commands
	notices    notices
	pace       pace
	reads      reads
	lease      lease
	pledge     pledge
	admin      admin
	transfer   transfer
	compaction compaction
	states     states
	versions   versions
	levels     levels
	hashes     hashes
	timers     timers
	dead       dead
	deferred   deferrals
	abandoned  abandoned
	waits      waits
	counts     counts
	saver      Saver // nil: it saves in the turn
	timer      Timer // nil: nobody wants to know how long applying takes
	deadlines  deadlines
	cancelled  map[Caller]struct{} // who waits no longer, since the last Tick: cancel.go
	misused    string              // what the machine did wrong and was logged last
	captured   bool                // the machine is captured, and the write has not returned
	spent      int                 // of maxTurn, in this turn
	unfinished bool                // the turn has left something to do
}

// place is this server's in its cluster.
type place struct {
	instance string
	identity *wire.Identity    // nil: belongs to no cluster yet
	promises join.Promises     // about a cluster to come
	refused  map[string]string // why whose question about one was refused last, by asker: it has been logged
	removed  bool              // belonged to one, and is out for good; see removal.go
}

// duty is what the core still does.
type duty struct {
	failed   error // the first error of Flush: the core is dead
	stopping bool  // takes no more requests
	pending  int   // requests under way
}

// core is the Raft library and its log. raw is nil while the server belongs to no cluster.
type core struct {
	raw        *raft.RawNode
	log        *memlog
	hard       wire.HardState // as of the last Ready
	saved      watermark
	steps      steps             // in the log, and not known to be committed by saved
	saving     saving            // beside the turn
	unsaid     []*raftpb.Message // wait for the next line
	snap       *wire.Snapshot    // the one that log names
	incoming   []arrived         // with the MsgSnaps that were stepped since the last Ready
	logEnd     uint64            // where the log may end after the MsgApps and MsgSnaps that were stepped since the last Ready
	timeoutNow *raftpb.Message   // is stepped when nothing is ready any more
	lead       uint64
	role       raft.StateType
	term       uint64
}

// replicated is what applied entries made.
type replicated struct {
	machine machine.Machine
	system  *system
	time    int64           // applied time, Unix milliseconds; never decreases
	context machine.Context // memory of what the machine is told
	applied wire.EntryID
	decoded map[uint64]decodedBatch // batches that some reader has decoded already, by index
}

type decodedBatch struct {
	entry *raftpb.Entry // a batch counts only for this very entry
	batch *wire.Batch
}

// New restores a core from what its log holds. A server without an identity waits for CreateCluster or Join.
func New(cfg Config, env Env, stored Stored) (*Node, error) {
	cfg.MaxWaiting = cmp.Or(cfg.MaxWaiting, cfg.MaxPending)
	cfg.WaitingBytes = cmp.Or(cfg.WaitingBytes, math.MaxInt)
	n := &Node{cfg: cfg, env: env, log: cfg.Logger, place: place{instance: stored.Instance}}
	n.state = replicated{machine: cfg.Machine, system: newSystem(DefaultTimeouts), decoded: map[uint64]decodedBatch{}}
	n.state.system.sessions.bind(cfg.Bounds)
	n.reads.start = crc64.Checksum([]byte(cfg.Boot), crc64.MakeTable(crc64.ECMA))
	n.timer, _ = env.(Timer)
	n.saver, _ = env.(Saver)
	n.raft.logEnd, n.deadlines.next = math.MaxUint64, never
	n.hashes = hashes{others: map[uint64]wire.StateHash{}, differs: map[uint64]uint64{}}
	n.versions = versions{own: MachineVersion(cfg.Machine), peers: map[uint64]int{}}
	n.levels = levels{}
	n.state.system.Version = n.versions.own
	n.timers, n.deferred, n.abandoned, n.waits = newTimers(cfg.Machine), newDeferrals(), newAbandoned(cfg.Machine), newWaits()
	n.commands.taken, n.cancelled = map[uint64]taken{}, map[Caller]struct{}{}
	n.notices.reset()
	n.peers.up = map[uint64]bool{}
	n.peers.acked = map[uint64]time.Duration{}
	n.peers.guests = map[uint64]Peer{}
	n.peers.where = newWhereabouts()
	n.peers.warned = map[string]time.Duration{}
	n.promises.Servers, n.refused = cfg.Founders, map[string]string{}
	if stored.Identity == nil {
		return n, nil
	}
	if err := n.begin(*stored.Identity, stored); err != nil {
		return nil, err
	}
	n.renewPledge(stored.Entries)
	return n, nil
}

// begin starts the library with an identity that is durable already.
func (n *Node) begin(id wire.Identity, stored Stored) error {
	if snap := stored.Snapshot; snap != nil {
		if err := n.take(snap); err != nil {
			return err
		}
		n.raft.snap, n.compaction.size = snap, stored.StateSize
		stored.HardState.Commit = max(stored.HardState.Commit, snap.LastIncluded.Index)
	}
	log, err := loadLog(stored.Prev, stored.Entries, stored.Snapshot, stored.HardState)
	if err != nil {
		return fmt.Errorf("node: load the log: %w", err)
	}
	if m, _ := n.state.system.lookup(id.NodeID); m.Demotion == DemotionTaken {
		log.keeps = id.NodeID
	}
	// NB: Applied must be no higher than the snapshot, also if more is committed: the machine is in memory, and
	// configuration changes are applied from entries.
	n.raft.raw, err = raft.NewRawNode(&raft.Config{
		ID: id.NodeID, ElectionTick: electionTicks, HeartbeatTick: n.cfg.HeartbeatTicks,
		Storage: log, Applied: n.state.applied.Index,
		MaxSizePerMsg: n.cfg.MessageSize, MaxCommittedSizePerReady: n.cfg.PageSize, MaxUncommittedEntriesSize: n.cfg.MaxUncommitted,
		MaxInflightMsgs: 256, MaxInflightBytes: n.cfg.Inflight,
		CheckQuorum: true, PreVote: true, StepDownOnRemoval: true, DisableProposalForwarding: true, AsyncStorageWrites: true,
		ReadOnlyOption: raft.ReadOnlySafe, Logger: raftLogger{n.log},
	})
	if err != nil {
		return fmt.Errorf("node: start raft: %w", err)
	}
	n.identity = &id
	n.raft.log = log
	n.raft.hard = stored.HardState
	n.raft.saved = watermark{n.raft.hard.Term, n.raft.hard.Vote, log.last(), n.raft.hard.Commit}
	n.raft.steps.append(stored.Entries)
	n.raft.steps.known(n.raft.hard.Commit)
	n.raft.term = stored.HardState.Term
	n.spread() // the log is as long as it was
	n.clock.next = n.clock.elapsed + n.state.system.Tick()
	n.linkPeers()
	return nil
}

// Flush does the work of a turn. An error means that the server must stop: its disk or its machine has failed, and
// nothing it would say could be trusted.
func (n *Node) Flush() error {
	if n.failed != nil {
		return n.failed
	}
	if err := n.flush(); err != nil {
		n.failed = err
	}
	return n.failed
}

// maxTurn bounds, roughly and in bytes, what a turn proposes, what it applies, and what it tells of the machine's
// state. The rest goes on in the next turn: whatever there is to do, the loop must hear the other servers in time.
const maxTurn = 1 << 20

func (n *Node) flush() error {
	n.reads.answered, n.spent, n.unfinished = 0, 0, false
	n.reads.first++
	defer n.lookAtTimers()
	if err := n.takeSaved(); err != nil {
		return err
	}
	n.answerReads()
	n.beginAsked()
	n.tellStates()
	n.runErrands()
	for {
		n.advanceAdmin()
		if n.raft.raw == nil {
			return nil
		}
		n.propose()
		n.askReadIndex()
		if !n.raft.raw.HasReady() {
			if n.raft.saving.waits() {
				if err := n.saveNext(); err != nil {
					return err
				}
				continue
			}
			if n.raft.timeoutNow == nil {
				n.unfinished = n.spent >= maxTurn // more may wait than has been handed to the leader
				return nil
			}
			// NB: Not earlier. The library does not campaign while a committed step of the configuration is not
			// applied, and the commit may have come in this turn.
			_ = n.raft.raw.Step(n.raft.timeoutNow) // it never fails
			n.raft.timeoutNow = nil
			continue
		}
		applied := n.state.applied
		if err := n.handleReady(); err != nil {
			return err
		}
		n.walkConfiguration()
		// The clock is looked at too: nobody knows how long the machine takes.
		if n.unfinished = n.spent >= maxTurn || n.state.applied != applied && n.env.Late(); n.unfinished {
			return nil
		}
	}
}

// leading tells whether this server leads and has applied the first entry of its term. Only then does it know all that
// was committed before. Earlier the library would answer a ReadIndex too soon in a cluster of one, and would silently
// drop changes of the configuration.
func (n *Node) leading() bool {
	return n.raft.role == raft.StateLeader && n.state.applied.Term == n.raft.term
}

// leaderAddr is the address of the leader as far as known, or "".
func (n *Node) leaderAddr() string {
	if n.identity == nil || n.raft.lead == 0 {
		return ""
	}
	if n.raft.lead == n.identity.NodeID {
		return n.cfg.Addr // also while the list does not follow
	}
	if at := n.peers.where.proven[n.raft.lead]; at != "" {
		return at // it leads over the link with which it has proved that
	}
	m, _ := n.state.system.lookup(n.raft.lead)
	return m.Addr
}

// failure is a copy of base that tells the leader, where one is known, and a reason.
func (n *Node) failure(base *jsonrpc.Error, reason string) *jsonrpc.Error {
	return withData(base, n.leaderAddr(), reason)
}

// inConfiguration tells whether id votes or learns in the applied Raft configuration.
func (n *Node) inConfiguration(id uint64) bool {
	return n.raft.log != nil && slices.Contains(confIDs(n.raft.log.conf), id)
}

// Identity returns this server's place in its cluster, if it has one.
func (n *Node) Identity() (identity wire.Identity, ok bool) {
	if n.identity == nil {
		return wire.Identity{}, false
	}
	return *n.identity, true
}

// Peers returns the servers that Env.SetPeers was told of last.
func (n *Node) Peers() []Peer { return n.peers.linked }

// Committed is the index up to which this server knows entries to be committed.
func (n *Node) Committed() uint64 { return n.raft.hard.Commit }

// Applied is the last entry that this server has applied.
func (n *Node) Applied() wire.EntryID { return n.state.applied }

// Fail ends the core: the next Flush returns err, unless it has failed already.
func (n *Node) Fail(err error) {
	if n.failed == nil {
		n.failed = err
	}
}
