package node

import (
	"fmt"
	"math"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// handleReady carries out what the library has ready, in the order of etcd raft's doc.go with two differences. A leader
// sends new entries before it has saved them itself (Raft thesis §10.2.1). That is safe, since its own acknowledgement
// is only stepped in Advance. And what is committed and in the log already is applied, and answered, before the disk is
// waited for: it is durable on a quorum. Votes and acknowledgements promise what is durable here, and wait.
func (n *Node) handleReady() error {
	rd := n.raft.raw.Ready()
	n.observe(rd)
	step := n.commitsStep(rd)
	saves := rd.MustSync || step
	afterSave := n.sendEarly(rd.Messages, step)
	early := n.appliesFirst(rd)
	if saves || early {
		n.env.Sent()
	}
	if early {
		if err := n.apply(rd.CommittedEntries); err != nil {
			return err
		}
	}
	n.confirm(rd.ReadStates)
	n.answerReads()
	if saves && (early || len(rd.ReadStates) > 0) {
		n.env.Sent()
	}
	if err := n.save(rd, step); err != nil {
		return err
	}
	n.raft.incoming, n.raft.appendedTo = nil, math.MaxUint64
	for _, m := range afterSave {
		n.send(m)
	}
	if !early && len(rd.CommittedEntries) > 0 {
		if slices.ContainsFunc(rd.CommittedEntries, isStep) {
			n.releaseAll() // who leaves with it should know
		}
		n.env.Sent()
		if err := n.apply(rd.CommittedEntries); err != nil {
			return err
		}
	}
	n.answerReads()
	n.raft.raw.Advance(rd)
	if n.leading() {
		n.releaseReads()
	}
	if n.raft.log.wanted {
		n.raft.log.wanted = false // the library asks again with the next heartbeat
		n.beginSnapshot()
	}
	n.compactIfLong()
	return nil
}

// sendEarly sends what need not wait for the disk, holds what need not be sent yet, and returns the rest.
func (n *Node) sendEarly(messages []*raftpb.Message, step bool) (rest []*raftpb.Message) {
	for _, m := range messages {
		switch {
		case step: // what tells of it follows its line
			n.noteSent(m)
			rest = append(rest, m)
		case n.hold(m):
		case m.GetType() == raftpb.MsgReadIndex: // it promises nothing that has to be durable
			n.send(m)
		case n.raft.role == raft.StateLeader && fromLeader(m.GetType()):
			n.send(m)
		default:
			rest = append(rest, m)
		}
	}
	return rest
}

// appliesFirst tells whether what is committed need not wait for this Ready to be saved: on a leader, which has saved it
// with an earlier one, since the library counts its acknowledgement at Advance, and others can't have sent theirs before. A step
// of the configuration keeps its place behind the line that tells of it.
func (n *Node) appliesFirst(rd raft.Ready) bool {
	return n.raft.role == raft.StateLeader && len(rd.CommittedEntries) > 0 && !slices.ContainsFunc(rd.CommittedEntries, isStep)
}

// commitsStep tells whether a step of the configuration becomes committed that no line of the log tells of.
func (n *Node) commitsStep(rd raft.Ready) bool {
	return slices.ContainsFunc(rd.CommittedEntries, func(e *raftpb.Entry) bool { return isStep(e) && e.GetIndex() > n.raft.saved })
}

func isStep(e *raftpb.Entry) bool { return e.GetType() == raftpb.EntryConfChangeV2 }

// observe notes changes of role, leader and term.
func (n *Node) observe(rd raft.Ready) {
	if rd.HardState != nil && !raft.IsEmptyHardState(rd.HardState) {
		n.raft.hard = wire.HardState{Term: rd.HardState.GetTerm(), Vote: rd.HardState.GetVote(), Commit: rd.HardState.GetCommit()}
		n.raft.term = n.raft.hard.Term
	}
	if s := rd.SoftState; s != nil {
		if n.raft.lead != s.Lead || n.raft.role != s.RaftState {
			n.log.Info("role", "id", n.identity.NodeID, "role", n.roleName(s.RaftState), "term", n.raft.term, "leader", s.Lead)
		}
		if s.RaftState == raft.StateLeader && n.raft.role != raft.StateLeader {
			n.clock.beat = 0
		}
		n.raft.lead, n.raft.role = s.Lead, s.RaftState
		if s.RaftState != raft.StateLeader {
			n.reads.held, n.peers.confTerm, n.peers.confIndex = nil, 0, 0
			n.notices.reset()
		}
		n.endTransfer()
	}
}

// save makes durable what this Ready brings, and tells the library's log. Each line carries the hard state with the
// commit index as known now: after a restart the configuration is that of the stored commit, and an older one would
// let a server lead alone. A commit that moves alone needs no line, unless it commits a step of the configuration: that
// is durable before anybody hears of it. A server removed by it leaves for good, and one that came back with the
// configuration before would wait for its vote for ever.
func (n *Node) save(rd raft.Ready, step bool) error {
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := n.installSnapshot(rd.Snapshot); err != nil {
			return err
		}
	}
	if rd.MustSync || step {
		r := &wire.Record{HardState: new(n.raft.hard)}
		if len(rd.Entries) > 0 {
			prev := rd.Entries[0].GetIndex() - 1
			term, err := n.raft.log.Term(prev)
			if err != nil {
				return fmt.Errorf("node: term of entry %d: %w", prev, err)
			}
			r.LogEntries = &wire.LogEntries{Prev: wire.EntryID{Term: term, Index: prev}, Entries: rd.Entries}
			n.noteProposed(rd.Entries)
			if n.peers.confTerm != 0 && n.peers.confIndex == 0 {
				n.peers.confIndex = rd.Entries[len(rd.Entries)-1].GetIndex()
			}
		}
		took, err := n.env.Save(r)
		if err != nil {
			return fmt.Errorf("node: the log can't be written: %w", err)
		}
		n.pace.sync = took
		n.raft.saved = n.raft.hard.Commit
	}
	if err := n.raft.log.Append(rd.Entries); err != nil {
		return fmt.Errorf("node: keep entries: %w", err)
	}
	return n.raft.log.SetHardState(&raftpb.HardState{Term: new(n.raft.hard.Term), Vote: new(n.raft.hard.Vote), Commit: new(n.raft.hard.Commit)})
}

// noteProposed matches the entries that the library made of our proposal, the last ones, with what is in them.
func (n *Node) noteProposed(entries []*raftpb.Entry) {
	proposed := n.commands.proposed
	n.commands.proposed = nil
	if len(proposed) > len(entries) {
		return
	}
	for i, e := range entries[len(entries)-len(proposed):] {
		n.state.decoded[e.GetIndex()] = decodedBatch{e, proposed[i]}
		n.notices.want(proposed[i].From, e.GetIndex())
	}
}

// send gives a message of the library to its link. A snapshot travels with its state.
func (n *Node) send(r *raftpb.Message) {
	m := &wire.Message{From: n.identity.NodeID, To: r.GetTo(), Raft: r}
	switch r.GetType() {
	case raftpb.MsgHeartbeat:
		n.noteContext(r)
	case raftpb.MsgReadIndex:
		r.Term = new(n.raft.term) // the library leaves it out; see confirmAtOnce
	case raftpb.MsgSnap:
		m.Snapshot = n.raft.snap
	}
	if !n.env.Send(m) {
		n.raft.raw.ReportUnreachable(r.GetTo())
		if r.GetType() == raftpb.MsgSnap {
			n.raft.raw.ReportSnapshot(r.GetTo(), raft.SnapshotFailure)
		}
	}
}

func (n *Node) apply(entries []*raftpb.Entry) error {
	for _, e := range entries {
		if err := n.applyEntry(e); err != nil {
			return err
		}
	}
	return nil
}

// applyEntry applies a committed entry: to the machines, or to the Raft configuration.
func (n *Node) applyEntry(e *raftpb.Entry) error {
	index, term := e.GetIndex(), e.GetTerm()
	if want := n.state.applied.Index + 1; index != want {
		return fmt.Errorf("node: entry %d is to be applied where %d belongs", index, want)
	}
	if term > n.state.applied.Term {
		n.settleBelow(term, ErrRejected, "the leader changed before it was logged")
	}
	n.state.applied = wire.EntryID{Term: term, Index: index}
	n.compaction.grown += uint64(len(e.GetData())) + 64
	if n.peers.confIndex != 0 && index >= n.peers.confIndex {
		n.peers.confTerm, n.peers.confIndex = 0, 0
	}
	switch {
	case isStep(e):
		cc := new(raftpb.ConfChangeV2)
		if err := proto.Unmarshal(e.GetData(), cc); err != nil {
			return fmt.Errorf("node: configuration change at %d: %w", index, err)
		}
		if err := n.applyStep(cc); err != nil {
			return fmt.Errorf("node: configuration change at %d: %w", index, err)
		}
	case len(e.GetData()) > 0:
		batch, err := n.decode(e)
		if err != nil {
			return fmt.Errorf("node: entry %d: %w", index, err)
		}
		if err := n.applyBatch(index, batch); err != nil {
			return err
		}
	}
	if _, guest := n.peers.guests[index]; guest {
		n.linkPeers()
	}
	return nil
}

// decode returns what is in an entry, from the reader that has decoded it already where there was one.
func (n *Node) decode(e *raftpb.Entry) (*wire.Batch, error) {
	d, ok := n.state.decoded[e.GetIndex()]
	delete(n.state.decoded, e.GetIndex())
	if ok && d.entry == e {
		return d.batch, nil
	}
	return wire.DecodeBatch(e.GetData())
}

// applyStep applies a step of the Raft configuration. The lists follow it: a server that has left it is forgotten.
func (n *Node) applyStep(cc *raftpb.ConfChangeV2) error {
	step := cc.GetChanges()[0]
	if step.GetType() == wire.RemoveNode && len(without(n.raft.log.conf, step.GetNodeId()).GetVoters()) == 0 {
		return fmt.Errorf("no voter is left without server %d", step.GetNodeId()) // the library would panic
	}
	if own := step.GetType() == wire.RemoveNode && step.GetNodeId() == n.identity.NodeID; own {
		n.raft.log.conf = without(n.raft.log.conf, n.identity.NodeID) // not the library: see removal.go
	} else {
		n.raft.log.conf = n.raft.raw.ApplyConfChange(cc)
	}
	n.log.Info("configuration", "step", step.GetType().String(), "server", step.GetNodeId(),
		"voters", fmt.Sprint(slices.Sorted(slices.Values(n.raft.log.conf.GetVoters()))), "learners", fmt.Sprint(n.raft.log.conf.GetLearners()))
	if step.GetType() == wire.RemoveNode {
		delete(n.state.system.Leaving, step.GetNodeId())
		delete(n.peers.acked, step.GetNodeId())
		if step.GetNodeId() == n.identity.NodeID {
			n.remove()
		}
		n.settleRemovals()
		n.linkPeers()
	}
	return nil
}
