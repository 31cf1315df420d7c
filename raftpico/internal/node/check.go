package node

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Message takes in a message of a server that has proved to be from. Raft believes everything that it is stepped with,
// so everything is checked before; what fails is dropped and logged. An error means that the sender is no member. Its
// connection should be closed: then it says hello again, and learns why.
func (n *Node) Message(from uint64, m *wire.Message) error {
	if n.removed && n.raft.raw == nil {
		return fmt.Errorf("node: this server has left the cluster")
	}
	if n.raft.raw == nil || n.failed != nil {
		return nil
	}
	if !n.known(from) {
		return fmt.Errorf("node: server %d is no member", from)
	}
	if m.From != from || m.To != n.identity.NodeID {
		n.drop(m, "it is not from its sender, or not to this server")
		return nil
	}
	switch {
	case m.Propose != nil:
		size := uint64(len(m.Propose.Encoded))
		if n.commands.asked > 0 && n.commands.asked+size > n.cfg.MaxUncommitted {
			n.reject(m, ErrBusy.Code, "too many bytes are uncommitted")
			return nil
		}
		n.commands.asked += size
		n.pace.came(len(m.Propose.Commands))
		n.commands.gathered.count += len(m.Propose.Commands)
		n.commands.gathered.bytes += size
		n.commands.foreign = append(n.commands.foreign, m)
	case m.Rejected != nil:
		n.rejected(from, m.Rejected)
	case m.Raft.GetType() == raftpb.MsgSnap:
		n.drop(m, "it came without its state") // see Snapshot
	default:
		if flaw := n.flaw(m); flaw != "" {
			n.drop(m, flaw)
			return nil
		}
		n.step(m)
	}
	return nil
}

// step hands a checked message to the library.
func (n *Node) step(m *wire.Message) {
	r := m.Raft
	switch r.GetType() {
	case raftpb.MsgReadIndex:
		n.stepReadIndex(r)
		return
	case raftpb.MsgVote, raftpb.MsgPreVote:
		if n.keepsStill(r) {
			return
		}
	case raftpb.MsgAppResp, raftpb.MsgHeartbeatResp:
		n.peers.acked[m.From] = n.clock.elapsed
		n.noteEcho(m)
		n.reads.questions.noteAcknowledged(m.From, r)
	case raftpb.MsgTimeoutNow:
		n.raft.timeoutNow = r // see flush
		return
	case raftpb.MsgSnap:
		n.raft.logEnd = min(n.raft.logEnd, m.Snapshot.LastIncluded.Index)
	case raftpb.MsgApp:
		n.raft.logEnd = min(n.raft.logEnd, r.GetIndex()+uint64(len(r.GetEntries())))
		for i, e := range r.GetEntries() {
			if m.Batches != nil && m.Batches[i] != nil && e.GetIndex() > n.state.applied.Index {
				n.state.decoded[e.GetIndex()] = decodedBatch{e, m.Batches[i]}
			}
		}
	}
	leads := fromLeader(r.GetType()) && r.GetTerm() >= n.raft.term // perhaps a new one
	if leads {
		n.heard()
		n.hearOf(r)
	}
	_ = n.raft.raw.Step(r) // it fails only for responses of servers that have left the configuration
	if leads {
		n.makePledge(m)
		n.foundLeader()
	}
}

// fromLeader tells whether only leaders send messages of a type, which put off the next election.
func fromLeader(t raftpb.MessageType) bool {
	return t == raftpb.MsgApp || t == raftpb.MsgHeartbeat || t == raftpb.MsgSnap
}

// flaw tells what is wrong with a Raft message, or "". Each rule keeps out something that would crash the library, or
// would change its term or its log, which the sender has no right to.
func (n *Node) flaw(m *wire.Message) string {
	r := m.Raft
	status := n.raft.raw.BasicStatus()
	term, last := status.GetTerm(), n.raft.log.last()
	if r.GetTerm() > term+1<<32 {
		return "its term is out of reach"
	}
	if r.GetTerm() == 0 && r.GetType() != raftpb.MsgReadIndex {
		return "it has no term" // the library would take it for a local one
	}
	if max(r.GetIndex(), r.GetCommit(), r.GetRejectHint()) >= 1<<62 || r.GetLogTerm() > r.GetTerm() && r.GetType() != raftpb.MsgAppResp {
		return "an index or a term is out of range"
	}
	current := r.GetTerm() == term
	switch r.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		if current && status.Lead != raft.None && status.Lead != m.From {
			return "another server leads its term"
		}
	}
	switch r.GetType() {
	case raftpb.MsgApp:
		if r.GetIndex() == 0 && len(r.GetEntries()) > 0 {
			return "no log begins there: index 1 is in the first snapshot"
		}
		if k := len(r.GetEntries()); k > 0 && r.GetEntries()[k-1].GetTerm() > r.GetTerm() {
			return "an entry is newer than its sender"
		}
		if what := n.contradiction(r); what != "" {
			n.diverged(what)
			return "it contradicts what is committed"
		}
	case raftpb.MsgHeartbeat:
		if seen := max(r.GetCommit(), r.GetIndex()); r.GetTerm() >= term && seen > last {
			// Nobody but a server that had acknowledged more than it has now is told so.
			n.failed = fmt.Errorf("node: the leader has seen this server with entries up to %d, and its log ends at %d: "+
				"the log file is older than the server; remove the server, delete the file, and add it again", seen, last)
			return "this server has lost entries"
		}
		if r.GetCommit() > n.raft.logEnd {
			return "it may commit what was replaced in this turn"
		}
		if k := len(r.GetContext()); k != 0 && k != 8 {
			return "its context is malformed"
		}
	case raftpb.MsgHeartbeatResp:
		switch c := r.GetContext(); {
		case len(c) == 0:
		case len(c) != 8 || current && (n.reads.term != term || binary.LittleEndian.Uint64(c) > n.reads.maxContext):
			return "it acknowledges what was never asked"
		}
	case raftpb.MsgAppResp:
		if current && r.GetIndex() > last && !r.GetReject() {
			return "it acknowledges what was never sent"
		}
	case raftpb.MsgVote, raftpb.MsgPreVote:
		if c := string(r.GetContext()); c != "" && c != campaignTransfer {
			return "its context is malformed"
		}
	case raftpb.MsgTimeoutNow:
		if !current || status.Lead != m.From {
			return "it is not from the leader"
		}
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		if len(r.GetEntries()[0].GetData()) != readContextSize {
			return "its context is malformed"
		}
	case raftpb.MsgSnap:
		return flawInSnapshot(m.Snapshot, r.GetTerm())
	}
	return ""
}

func flawInSnapshot(s *wire.Snapshot, term uint64) string {
	id := s.LastIncluded
	if id.Index == 0 || id.Index >= 1<<62 || id.Term == 0 || id.Term > term {
		return "its snapshot has an impossible place"
	}
	ids := confIDs(&raftpb.ConfState{Voters: s.Voters, Learners: s.Learners})
	if len(s.Voters) == 0 || slices.ContainsFunc(ids, func(id uint64) bool { return !validID(id) }) || len(slices.Compact(ids)) != len(s.Voters)+len(s.Learners) {
		return "its snapshot has an impossible configuration"
	}
	if _, err := decodeSystem(s.Machines.System); err != nil {
		return "its snapshot has no member list"
	}
	return ""
}
