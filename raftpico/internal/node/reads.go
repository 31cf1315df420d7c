package node

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// reads are the queries of this server's callers. Those of one turn share a round: one ReadIndex (Raft thesis §6.4),
// after which they run here, once the machine has applied up to the index that the leader confirmed.
//
// The library silently drops a ReadIndex when there is no leader, and loses it when the leader changes. So a round is
// asked for again, under one more context, when the leader has changed, or when no answer has come for too long.
type reads struct {
	waiting   []query
	rounds    []*round // asked for, in order
	start     uint64   // names this start of the server in contexts
	counter   uint64   // the last context
	answered  int      // bytes put out in this turn
	first     int      // of the steps of answerReads, in this turn
	near      gathering
	questions questions
	spare     *round            // memory, or nil
	held      []*raftpb.Message // others' MsgReadIndex, until this leader has applied the start of its term

	// The library counts heartbeat contexts up within a term. A member that acknowledges a higher one than was sent
	// would crash it. maxContext is the highest one sent in term.
	maxContext, term uint64
}

type query struct {
	kind     machine.Kind // forBackup: no query of the machine
	near     bool
	caller   Caller
	deadline time.Duration
	input    json.RawMessage
}

type round struct {
	queries  []query
	contexts []uint64 // under which it was asked for; an answer to any of them will do
	asked    time.Duration
	patience time.Duration
	leader   uint64 // who was asked last, and in which term
	term     uint64
	least    uint64 // the commit index here when it began: no leader of the same history can confirm less
	index    uint64 // valid when confirmed
	answered bool   // a leader has confirmed index
}

// maxRounds bounds how many rounds are under way at once. Queries that come meanwhile join the next one. With more
// rounds, callers in process travel in many rounds of few: 1,000 of them got 365,000 queries a second with eight
// rounds, 510,000 with two. With one, a lost round would hold up all.
const maxRounds = 2

// askReadIndex asks the leader for one read index for all that waits, at most once a turn.
func (n *Node) askReadIndex() {
	r := &n.reads
	if len(r.waiting) == 0 && len(r.rounds) == 0 {
		return
	}
	if n.leased() {
		n.confirmByLease()
		return
	}
	status := n.raft.raw.BasicStatus()
	lead, term := status.Lead, status.GetTerm()
	if lead == raft.None || lead == n.identity.NodeID && !n.leading() || lead != n.identity.NodeID && !n.peers.up[lead] {
		return
	}
	asks := false
	ask := func(round *round) {
		asks = true
		round.contexts = append(round.contexts, r.counter+1)
		round.asked, round.leader, round.term = n.clock.elapsed, lead, term
	}
	for _, round := range r.rounds {
		if !round.answered && (round.leader != lead || round.term != term || n.clock.elapsed-round.asked > round.patience) {
			round.patience *= 2 // the answer may be on its way, only slowly
			ask(round)
		}
	}
	if len(r.waiting) > 0 && !n.holdsRound() {
		fresh := r.begin()
		fresh.least, fresh.patience = n.raft.hard.Commit, electionTicks/2*n.state.system.Tick()
		ask(fresh)
		r.questions.many = len(fresh.queries) > 1
	}
	if asks {
		r.counter++
		n.raft.raw.ReadIndex(n.readContext(r.counter))
	}
}

// confirmByLease confirms all rounds: all queries have come before it was found that the lease lasts.
func (n *Node) confirmByLease() {
	r, index := &n.reads, n.raft.hard.Commit // nobody has been told of more
	for _, round := range r.rounds {
		if !round.answered {
			round.index, round.answered = index, true
		}
	}
	if len(r.waiting) > 0 {
		fresh := r.begin()
		fresh.index, fresh.answered = index, true
	}
	n.answerReads()
}

// readContext names a round. It also names this start of the server: an answer that was meant for an earlier start must
// not fit.
func (n *Node) readContext(counter uint64) []byte {
	context := make([]byte, 0, readContextSize)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(context, n.reads.start), counter)
}

const readContextSize = 16

// confirm takes the library's answers to ReadIndex. Answers with unknown contexts are old, and dropped.
func (n *Node) confirm(states []raft.ReadState) {
	for _, s := range states {
		if len(s.RequestCtx) != readContextSize {
			continue
		}
		counter := binary.BigEndian.Uint64(s.RequestCtx[8:])
		if binary.BigEndian.Uint64(s.RequestCtx) != n.reads.start {
			continue
		}
		for _, r := range n.reads.rounds {
			if r.answered || !slices.Contains(r.contexts, counter) {
				continue
			}
			if s.Index < r.least {
				n.diverged(fmt.Sprintf("entries up to %d alone", s.Index))
				return
			}
			r.index, r.answered = s.Index, true
		}
	}
}

// maxAnswers bounds, in bytes, what queries put out in one turn. The rest goes on in the next turn: large answers must
// not keep the loop from hearing the other servers.
const maxAnswers = 4 << 20

// lookEvery is after how many queries the clock is looked at, since nobody knows how long the machine takes.
const lookEvery = 8

// answerReads runs the queries whose index has been applied, and those that were woken, and gives out deferred answers. Each
// of these comes first in every third turn: one that never ends must not hold up the others.
func (n *Node) answerReads() {
	left := maxAnswers - n.reads.answered
	steps := [...]func(int) int{n.serveRounds, n.giveReady, n.serveWoken}
	for i := range steps {
		left = steps[(n.reads.first+i)%len(steps)](left)
	}
	n.reads.answered = maxAnswers - left
}

// serveRounds runs the queries whose index has been applied, as long as there are bytes left to put out, and time. It
// returns what is left.
func (n *Node) serveRounds(left int) int {
	n.reads.rounds = slices.DeleteFunc(n.reads.rounds, func(r *round) bool {
		if !r.answered || r.index > n.state.applied.Index {
			return false
		}
		for i, q := range r.queries {
			if i%lookEvery == lookEvery-1 && n.env.Late() {
				left = 0
			}
			if left <= 0 {
				r.queries = r.queries[i:]
				return false
			}
			left -= n.serve(q, false)
			if q.near {
				n.reads.near.until = n.clock.elapsed + n.cfg.HoldReads
			}
		}
		n.reads.keep(r)
		return true
	})
	return left
}

// serve runs a query: it is answered, or waits. It returns about how many bytes were put out.
func (n *Node) serve(q query, timedOut bool) int {
	if q.kind == forBackup {
		n.takeBackup(q.caller, q.deadline)
		return 64
	}
	out, err, keys := n.ask(&q, timedOut)
	if len(keys) > 0 {
		n.waits.park(n, q, keys)
	} else {
		n.answer(q.caller, out, err)
	}
	return len(out) + 64
}

// backlog tells whether something waits for nothing but the next turn.
func (n *Node) backlog() bool {
	return n.unfinished || n.states.answer != nil || len(n.waits.woken) > 0 || len(n.deferred.ready) > 0 || slices.ContainsFunc(n.reads.rounds, func(r *round) bool { return r.answered && r.index <= n.state.applied.Index })
}

// expireReads answers the queries past their deadline. A query changes nothing, so 108 may be said at any time.
func (n *Node) expireReads() {
	unconfirmed := n.failure(ErrNoLeader, "no quorum confirmed it before the deadline")
	expired := func(q query) bool {
		if !n.expired(q.deadline) {
			return false
		}
		n.answer(q.caller, nil, unconfirmed)
		return true
	}
	n.reads.waiting = slices.DeleteFunc(n.reads.waiting, expired)
	n.reads.rounds = slices.DeleteFunc(n.reads.rounds, func(r *round) bool {
		r.queries = slices.DeleteFunc(r.queries, expired)
		return len(r.queries) == 0
	})
}

// releaseReads takes up the MsgReadIndexes of other servers that came before this leader could answer them.
func (n *Node) releaseReads() {
	if len(n.reads.held) == 0 {
		return
	}
	held := n.reads.held
	n.reads.held = nil
	for _, m := range held {
		n.stepReadIndex(m)
	}
}

// stepReadIndex answers another server's MsgReadIndex, or lets the library ask all servers. NB: It is held until this
// leader has applied the first entry of its term. In a cluster of one the library would answer earlier, with an index
// below that of acknowledged writes.
func (n *Node) stepReadIndex(m *raftpb.Message) {
	switch status := n.raft.raw.BasicStatus(); {
	case status.RaftState != raft.StateLeader: // it is dropped: who asked will ask again
	case n.state.applied.Term == status.GetTerm() && m.GetTerm() == status.GetTerm() && n.makeMajority(n.identity.NodeID, m.GetFrom()):
		n.confirmAtOnce(m)
	case n.leased() && m.GetTerm() == n.raft.term:
		n.confirmAtOnce(m)
	case n.leading():
		m.Term = nil           // the library would take it for a message of another kind
		_ = n.raft.raw.Step(m) // it fails only for senders that are gone
	case len(n.reads.held) < maxHeldReads:
		n.reads.held = append(n.reads.held, m)
	}
}

// confirmAtOnce answers a MsgReadIndex without asking anybody else. That is right while this leader has a lease. It is also
// right if the sender makes a majority with this leader, as with up to three voters: a later leader needs the vote of one
// of the two. But the sender was still in this leader's term when it sent the message, and this leader is in it now. So no
// later leader was elected before the sender's queries came, and what was acknowledged before them is committed here.
//
// NB: This holds for the sender's queries alone. Queries of other servers may have come later than the message was
// sent, with an election in between. So the library must not count the message as an acknowledgement.
func (n *Node) confirmAtOnce(m *raftpb.Message) {
	from, to, index := n.identity.NodeID, m.GetFrom(), n.raft.hard.Commit // nobody has been told of more
	answer := &raftpb.Message{Type: raftpb.MsgReadIndexResp.Enum(), From: new(from), To: new(to), Term: new(m.GetTerm()), Index: new(index), Entries: m.GetEntries()}
	n.hold(answer)
	match, _ := n.follows(to)
	if commit := min(match, index); n.cfg.HoldNotices > 0 && n.notices.told[to] < commit && n.peers.up[to] {
		// What it was told was lost with a link, and it should not wait until the next heartbeat is due.
		tell := &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(from), To: new(to), Term: new(m.GetTerm()), Commit: new(commit)}
		n.hold(tell)
		n.say(tell)
	}
	n.say(answer)
}

// makeMajority tells whether two servers are a majority of the voters.
func (n *Node) makeMajority(a, b uint64) bool {
	voters, found := 0, 0
	n.raft.raw.WithProgress(func(id uint64, kind raft.ProgressType, _ tracker.Progress) {
		if kind == raft.ProgressTypePeer {
			voters++
			if id == a || id == b {
				found++
			}
		}
	})
	return found > voters/2
}

// maxHeldReads is more than sensible members can have under way.
const maxHeldReads = 1024

// noteContext remembers the read context that a heartbeat carries.
func (n *Node) noteContext(m *raftpb.Message) {
	if r := &n.reads; len(m.GetContext()) == 8 {
		if m.GetTerm() != r.term {
			r.term, r.maxContext = m.GetTerm(), 0
		}
		r.maxContext = max(r.maxContext, binary.LittleEndian.Uint64(m.GetContext()))
	}
}

// ask runs a query on the machine as it is now. Keys, if there are any, are what it wants to wait for: then there is no
// answer yet.
func (n *Node) ask(q *query, timedOut bool) (out json.RawMessage, err *jsonrpc.Error, keys []string) {
	defer func() {
		if p := recover(); p != nil {
			n.log.Error("the machine panicked", Facts(panicked("in a query", p))...)
			out, err, keys = nil, jsonrpc.ErrInternal.Because("the machine panicked"), nil
		}
	}()
	ctx := n.context(q.kind, n.state.applied.Index, 0)
	ctx.TimedOut = timedOut
	output, failure := n.state.machine.Apply(ctx, q.input)
	if ctx.Asked() {
		e := ctx.Effects()
		n.noteMisuse(e.Misuse)
		if len(e.Waits) > 0 && failure == nil {
			return nil, nil, e.Waits
		}
	}
	out, err = encodeOutput(output, failure)
	return out, err, nil
}

// context is what the machine is told, in memory that its next call takes again.
func (n *Node) context(kind machine.Kind, index uint64, offset int) *machine.Context {
	c := &n.state.context
	c.Reuse()
	c.Kind, c.Index, c.Offset = kind, index, offset
	c.Time, c.Version = time.UnixMilli(n.state.time).UTC(), n.state.system.Version
	c.Session, c.Upkeep, c.TimedOut = 0, false, false
	if n.identity != nil {
		c.Cluster = n.state.system.origin(index, n.identity.ClusterID)
	}
	return c
}
