package node

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Where the commands of one turn are split into several entries: an entry is applied in one go, however slow the machine is.
const (
	maxBatch    = 256 << 10 // bytes
	maxCommands = 1024
)

// maxScratch bounds the memory that is kept for encoding entries, in bytes.
const maxScratch = 4 << 20

// commands are the commands of this server's callers, on their way through the log. A command moves from waiting to
// sent to answered. It is answered exactly once, by the first of these that happens:
//
//	its entry is applied                                    → the machine's output
//	an entry of a term > tag is applied                     → 106: logged it would have the term tag
//	the leader, or the library, refuses the attempt         → 106, 110
//	a snapshot with a last term ≥ tag is installed          → 107: it may be inside
//	its deadline passes                                     → 108 if unsent, else 107
//	this server stops or is removed                         → 106 or 102 if unsent, else 107
//
// Invariant: sent is ascending by seq, and tags never decrease along it.
type commands struct {
	seq     uint64 // of the next command
	waiting []command
	sent    []*batch
	foreign []*wire.Message // proposals from other servers that wait
	bytes   uint64          // of waiting and sent
	asked   uint64          // bytes of foreign
	logged  uint64          // bytes of the entries that this leader has logged, and not applied

	gathered struct { // of waiting and foreign
		count int
		bytes uint64
	}

	taken    map[uint64]taken // by proposer: what this leader has taken in its term
	proposed []*wire.Batch    // what the library has taken since the last Ready, in order: there it is not decoded again
	scratch  []byte           // memory of proposeHere
}

// taken tells how far a server's proposals have been taken. One connection keeps their order. But when it breaks, its
// reader may still hold some, while later ones come over the next connection. The earlier ones must not be logged then.
type taken struct {
	term uint64
	boot string
	next uint64 // sequence numbers below are rejected
}

type command struct {
	caller   Caller
	deadline time.Duration
	command  wire.Command
}

// batch is one entry that was proposed, or one message that asked for it. It is never sent again.
type batch struct {
	to       uint64 // the leader it was handed to
	tag      uint64 // the term in which it was proposed: a leader logs it in this term, or never
	seq      uint64 // of its first command
	bytes    uint64
	deadline time.Duration // the earliest of those not yet answered
	commands []command     // a nil caller has been answered
	astray   bool          // its link has ended since, perhaps before it was sent; gathering does not wait for it
}

const never = time.Duration(math.MaxInt64)

func (c *command) size() uint64 {
	size := uint64(len(c.command.Apply)) + 64
	if c.command.Session != nil {
		size += 64
	}
	return size
}

// propose hands all that waits to the leader: to the library if that is this server, as messages if it is another.
// NB: Tags are compared in the same call that proposes, so that the term can't change in between.
func (n *Node) propose() {
	c, held := &n.commands, n.pace.until
	n.pace.until = 0
	if len(c.waiting) == 0 && len(c.foreign) == 0 {
		return
	}
	if n.state.applied.Index == 0 {
		n.rejectForeign("this server has no state yet") // our own wait for the snapshot, which would pass over them
		return
	}
	status := n.raft.raw.BasicStatus()
	term := status.GetTerm()
	switch leads := status.RaftState == raft.StateLeader; {
	case leads && status.LeadTransferee == raft.None:
		if n.recallDead(); n.commands.logged < n.ahead() && !n.gathers(status, held) {
			n.proposeHere(term)
		}
	case leads:
		n.rejectForeign("leadership is being handed over") // our own wait for the next leader
	default:
		n.rejectForeign("not the leader of the term")
		n.leaveToLeader()
		if lead := status.Lead; lead != raft.None && n.peers.up[lead] && n.handed(lead, term) < n.ahead() && !n.gathers(status, held) {
			n.forward(lead, term)
		}
	}
}

// proposeHere makes one library call of what waits, ours and the others', as much of both as a turn may: all of it is
// logged or none.
func (n *Node) proposeHere(term uint64) {
	// NB: The library clones the entries. So they are encoded into memory that is used again; the batches move to the clones when
	// these are in its Ready.
	c := &n.commands
	c.scratch = c.scratch[:0]
	var entries []*raftpb.Entry
	var decoded []*wire.Batch
	var accepted []*wire.Message
	now := n.clock.now()
	add := func(b *wire.Batch, encoded []byte) {
		b.Time = now
		from := len(c.scratch)
		c.scratch = b.Encode(c.scratch, encoded)
		entries = append(entries, &raftpb.Entry{Data: c.scratch[from:]})
		decoded = append(decoded, b)
	}
	foreign := n.takeForeign()
	defer clear(foreign)
	for _, m := range foreign {
		if m.Propose.Term != term {
			n.reject(m, ErrRejected.Code, "the leader changed before it was logged")
			continue
		}
		if t := n.commands.taken[m.From]; t.term == term && t.boot == m.Propose.Boot && m.Propose.Seq < t.next {
			n.reject(m, ErrRejected.Code, "later commands overtook it")
			continue
		}
		n.commands.taken[m.From] = taken{term, m.Propose.Boot, m.Propose.Seq + uint64(len(m.Propose.Commands))}
		accepted = append(accepted, m)
		b := &wire.Batch{From: m.From, Boot: m.Propose.Boot, Seq: m.Propose.Seq, Commands: m.Propose.Commands}
		if b.Commands[0].Apply != nil {
			add(b, nil)
		} else {
			add(b, m.Propose.Encoded)
		}
	}
	ours := n.takeWaiting(n.identity.NodeID, term)
	for _, b := range ours {
		logged := &wire.Batch{From: n.identity.NodeID, Boot: n.cfg.Boot, Seq: b.seq, Commands: b.bare()}
		if logged.Commands == nil {
			add(logged, b.encode())
			continue
		}
		add(logged, nil)
		for i := range b.commands { // what they came with may go
			b.commands[i].command = wire.Command{}
		}
	}
	n.pace.proposed(n.clock.elapsed)
	if len(entries) == 0 {
		return
	}
	err := n.raft.raw.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(n.identity.NodeID), Entries: entries})
	if cap(c.scratch) > maxScratch {
		c.scratch = nil
	}
	if err == nil {
		for _, e := range entries {
			n.commands.logged += uint64(len(e.GetData()))
		}
		n.commands.proposed = append(n.commands.proposed, decoded...)
		n.commands.sent = append(n.commands.sent, ours...)
		return
	}
	why, reason := ErrBusy, "too many bytes are uncommitted"
	if !errors.Is(err, raft.ErrProposalDropped) || !n.inConfiguration(n.identity.NodeID) {
		why, reason = ErrRejected, "the leader is leaving the cluster"
	}
	for _, m := range accepted {
		n.reject(m, why.Code, reason)
	}
	for _, b := range ours {
		n.finish(b, n.failure(why, reason))
	}
}

// forward hands what waits to the leader of the term. What its link does not take goes on waiting.
func (n *Node) forward(lead, term uint64) {
	seq := n.commands.seq
	batches := n.takeWaiting(lead, term)
	n.pace.proposed(n.clock.elapsed)
	for i, b := range batches {
		m := &wire.Message{From: n.identity.NodeID, To: lead, Propose: &wire.Propose{Term: term, Boot: n.cfg.Boot, Seq: b.seq, Encoded: b.encode()}}
		if !n.env.Send(m) {
			// Not handed over, hence certainly not logged: it may be sent as a new attempt. Its numbers are free again.
			n.commands.seq = seq
			var back []command
			for _, left := range batches[i:] {
				back = append(back, left.commands...)
				n.commands.gathered.count += len(left.commands)
				n.commands.gathered.bytes += left.bytes
				n.spent -= int(left.bytes)
			}
			n.commands.waiting = append(back, n.commands.waiting...)
			return
		}
		seq += uint64(len(b.commands))
		n.commands.sent = append(n.commands.sent, b)
	}
}

// takeWaiting makes batches of what waits, as much as a turn may. Only Apply commands share one, and no large ones: a machine that
// keeps such an input keeps the entry in memory.
func (n *Node) takeWaiting(to, tag uint64) []*batch {
	n.dropUnread()
	var batches []*batch
	whole := n.commands.waiting
	rest := whole
	for size := 0; len(rest) > 0 && size < maxTurn; {
		b := &batch{to: to, tag: tag, seq: n.commands.seq, deadline: rest[0].deadline}
		count := 0
		for count < len(rest) {
			c := &rest[count]
			alone := c.command.Apply == nil || len(c.command.Apply) >= machine.Large
			if count > 0 && (alone || b.bytes+c.size() > maxBatch || count == maxCommands) {
				break
			}
			b.bytes += c.size()
			b.deadline = min(b.deadline, c.deadline)
			if count++; alone {
				break
			}
		}
		b.commands = append(make([]command, 0, count), rest[:count]...)
		batches, rest = append(batches, b), rest[count:]
		n.commands.seq += uint64(count)
		n.commands.gathered.count -= count
		n.commands.gathered.bytes -= b.bytes
		size += int(b.bytes)
		n.spent += int(b.bytes)
	}
	clear(whole[:len(whole)-len(rest)])
	if n.commands.waiting = rest; len(rest) == 0 {
		n.commands.waiting = whole[:0]
	}
	return batches
}

// encode returns the JSON array of the batch's commands.
func (b *batch) encode() json.RawMessage {
	size := len(`[]`)
	for i := range b.commands {
		size += len(`{"Apply":},`) + len(b.commands[i].command.Apply)
		if b.commands[i].command.Session != nil {
			size += len(`,"Session":{"id":,"seq":,"ack":}`) + 3*8 // digits, mostly
		}
	}
	encoded := append(make([]byte, 0, size), '[')
	for i := range b.commands {
		if i > 0 {
			encoded = append(encoded, ',')
		}
		encoded = wire.AppendCommand(encoded, &b.commands[i].command)
	}
	return append(encoded, ']')
}

// bare returns the batch's commands without their callers, so that they need not be decoded again when they are
// applied. For a system command it returns nil: that is decoded from the logged bytes, as on the other servers.
func (b *batch) bare() []wire.Command {
	if b.commands[0].command.Apply == nil {
		return nil
	}
	commands := make([]wire.Command, len(b.commands))
	for i := range b.commands {
		commands[i] = b.commands[i].command
	}
	return commands
}

// reject tells the sender of a proposal that this attempt was not logged. If the message is lost, the callers are
// answered when an entry of a later term is applied, or at their deadlines.
func (n *Node) reject(m *wire.Message, code int, reason string) {
	p := m.Propose
	n.env.Send(&wire.Message{From: n.identity.NodeID, To: m.From,
		Rejected: &wire.Rejected{Term: p.Term, Boot: p.Boot, Seq: p.Seq, Code: code, Reason: reason}})
}

// rejected notes that the server to which an attempt was handed says that it was not logged. It counts for that attempt
// alone.
func (n *Node) rejected(from uint64, r *wire.Rejected) {
	i, found := n.findSent(r.Seq)
	if !found || r.Boot != n.cfg.Boot || n.commands.sent[i].tag != r.Term || n.commands.sent[i].to != from {
		return
	}
	b := n.commands.sent[i]
	n.commands.sent = slices.Delete(n.commands.sent, i, i+1)
	why := ErrRejected
	if r.Code == ErrBusy.Code {
		why = ErrBusy
	}
	n.finish(b, n.failure(why, r.Reason))
}

// findSent finds the batch whose first command has the number seq.
func (n *Node) findSent(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(n.commands.sent, seq, func(b *batch, seq uint64) int { return cmp.Compare(b.seq, seq) })
}

// isOurs tells whether a batch holds commands of our callers. Once it is applied, those that sent does not have were
// answered before.
func (n *Node) isOurs(b *wire.Batch) bool {
	return n.identity != nil && b.From == n.identity.NodeID && b.Boot == n.cfg.Boot
}

// takeSent removes and returns the batch of an applied entry, or nil if none of our callers waits for it.
func (n *Node) takeSent(b *wire.Batch) *batch {
	if !n.isOurs(b) {
		return nil
	}
	i, found := n.findSent(b.Seq)
	if !found {
		return nil
	}
	sent := n.commands.sent[i]
	n.commands.sent = slices.Delete(n.commands.sent, i, i+1)
	n.commands.bytes -= sent.bytes
	return sent
}

// settleBelow answers every batch proposed in a term below the one given. Called when an entry of that term has been
// applied (106, certain), or a snapshot that reaches into the term before it was installed (107).
func (n *Node) settleBelow(term uint64, why *jsonrpc.Error, reason string) {
	i := 0
	for ; i < len(n.commands.sent) && n.commands.sent[i].tag < term; i++ {
		n.finish(n.commands.sent[i], n.failure(why, reason))
	}
	n.commands.sent = slices.Delete(n.commands.sent, 0, i)
}

// finish answers all callers of a batch that has left sent.
func (n *Node) finish(b *batch, err *jsonrpc.Error) {
	n.commands.bytes -= b.bytes
	for i := range b.commands {
		n.answer(b.commands[i].caller, nil, err)
	}
}

// expireCommands answers what is past its deadline.
func (n *Node) expireCommands() {
	c := &n.commands
	unsent := n.failure(ErrNoLeader, "no leader took it before the deadline")
	unknown := n.failure(ErrUnknown, "no answer before the deadline")
	c.waiting = slices.DeleteFunc(c.waiting, func(w command) bool {
		if !n.expired(w.deadline) {
			return false
		}
		c.bytes -= w.size()
		c.gathered.count--
		c.gathered.bytes -= w.size()
		n.answer(w.caller, nil, unsent)
		return true
	})
	c.sent = slices.DeleteFunc(c.sent, func(b *batch) bool {
		if !n.expired(b.deadline) {
			return false
		}
		b.deadline = never
		for i := range b.commands {
			if w := &b.commands[i]; w.caller != nil && n.expired(w.deadline) {
				n.answer(w.caller, nil, unknown)
				w.caller = nil
			} else if w.caller != nil {
				b.deadline = min(b.deadline, w.deadline)
			}
		}
		if b.deadline == never {
			c.bytes -= b.bytes
		}
		return b.deadline == never
	})
}
