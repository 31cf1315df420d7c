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

// handleReady carries out what the library has ready: send, save, apply, as etcd raft's doc.go tells of asynchronous
// storage writes, with two differences. Messages that do not need what is about to be saved go out before it is saved
// (durable.go): so a leader sends new entries first. And a leader applies and answers what is committed before it waits
// for the disk. Where the disk is slow, it may be saved beside the turn instead (beside.go).
func (n *Node) handleReady() error {
	rd := n.raft.raw.Ready()
	beside := n.canWait(rd)
	if !beside {
		if err := n.settle(); err != nil {
			return err
		}
	}
	n.observe(rd)
	n.raft.steps.append(rd.Entries)
	n.raft.saved.replaced(rd)
	saved, applied := n.sayAll(rd.Messages)
	if beside {
		var err error
		if beside, err = n.saveBeside(rd, saved); err != nil {
			return err
		}
	}
	early := !beside && n.appliesFirst(rd)
	if early {
		n.env.Sent()
		if err := n.apply(rd.CommittedEntries); err != nil {
			return err
		}
	}
	if n.confirm(rd.ReadStates); n.failed != nil {
		return n.failed
	}
	n.answerReads()
	if !beside {
		if err := n.save(rd); err != nil {
			return err
		}
		if err := n.sayRest(); err != nil {
			return err
		}
	}
	n.raft.incoming, n.raft.logEnd = nil, math.MaxUint64
	if !early && len(rd.CommittedEntries) > 0 {
		n.env.Sent()
		if err := n.apply(rd.CommittedEntries); err != nil {
			return err
		}
	}
	n.answerReads()
	if !beside {
		n.stepOwn(saved)
	}
	n.stepOwn(applied)
	if n.leading() {
		n.releaseReads()
	}
	if n.raft.log.wanted {
		n.raft.log.wanted = false // the library asks again with the next heartbeat
		n.beginSnapshot()
	}
	n.beginAsked()
	n.compactIfLong()
	return nil
}

// sayAll says what is for other servers. It returns what the library wants to hear when the Ready is saved, and when its
// committed entries are applied.
func (n *Node) sayAll(messages []*raftpb.Message) (saved, applied []*raftpb.Message) {
	for _, m := range messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			own := m.GetResponses()[:0]
			for _, r := range m.GetResponses() {
				if r.GetTo() == n.identity.NodeID {
					own = append(own, r)
				} else if !n.hold(r) {
					n.say(r)
				}
			}
			saved = own
		case raft.LocalApplyThread:
			applied = m.GetResponses()
		default:
			if !n.holdsQuestion(m) && !n.hold(m) {
				n.say(m)
			}
		}
	}
	n.reads.questions.ticked = false // these were all there were
	return saved, applied
}

// stepOwn tells the library what it has told itself. Where that is out of the configuration, it does not listen.
func (n *Node) stepOwn(messages []*raftpb.Message) {
	for _, m := range messages {
		_ = n.raft.raw.Step(m)
	}
}

// appliesFirst tells whether what is committed is applied before this Ready is saved. A leader does so, since its
// callers wait. A follower saves and acknowledges first, since the leader's callers wait for that.
func (n *Node) appliesFirst(rd raft.Ready) bool {
	if n.raft.role != raft.StateLeader || len(rd.CommittedEntries) == 0 {
		return false
	}
	last := rd.CommittedEntries[len(rd.CommittedEntries)-1].GetIndex()
	return last <= n.raft.saved.last && n.holds(claim{commit: last})
}

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
		if s.Lead != raft.None && s.Lead != n.raft.lead {
			n.counts.leaderChanges++
		}
		n.raft.lead, n.raft.role, n.clock.lost = s.Lead, s.RaftState, false
		n.commands.logged = 0
		n.changedRole()
		if s.Lead == raft.None {
			n.following = following{}
		}
		if s.RaftState != raft.StateLeader {
			n.reads.held, n.peers.walk = nil, walk{}
			n.reads.questions.drop()
			n.notices.reset()
		}
		n.endTransfer()
	}
	switch {
	case n.raft.role != raft.StateLeader:
		n.lease = lease{}
	case n.lease.term != n.raft.term:
		n.lease = lease{term: n.raft.term}
		n.renewLease()
	}
}

// save makes durable what this Ready brings, and tells the library's log.
func (n *Node) save(rd raft.Ready) error {
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := n.installSnapshot(rd.Snapshot, rd.Entries); err != nil {
			return err
		}
	}
	r, err := n.keep(rd)
	if r == nil || err != nil {
		return err
	}
	return n.saveLine(r)
}

// keep tells the library's log what a Ready brings, and returns the line that makes that durable, or nil if there is
// nothing to save. NB: The log in memory may be ahead of the disk. The watermark tells by how much.
func (n *Node) keep(rd raft.Ready) (*wire.Record, error) {
	r, err := n.line(rd)
	if err != nil {
		return nil, err
	}
	if len(rd.Entries) > 0 {
		n.noteProposed(rd.Entries)
	}
	if err := n.raft.log.Append(rd.Entries); err != nil {
		return nil, fmt.Errorf("node: keep entries: %w", err)
	}
	return r, nil // the library reads a hard state from its log only when it is made
}

func (n *Node) saveLine(r *wire.Record) error {
	n.env.Sent()
	took, err := n.env.Save(r)
	if err != nil {
		return fmt.Errorf("node: the log can't be written: %w", err)
	}
	n.pace.sync = took
	told := n.raft.steps.upTo(n.raft.hard.Commit) // a step that this line is the first to tell; notices must tell it too
	n.noteSaved(r)
	if told > 0 {
		n.releaseAll()
	}
	return nil
}

// noteProposed matches the entries that the library made of our proposal, the last ones, with what is in them.
func (n *Node) noteProposed(entries []*raftpb.Entry) {
	n.peers.walk.logged(entries[len(entries)-1].GetIndex())
	proposed := n.commands.proposed
	n.commands.proposed = nil
	if len(proposed) > len(entries) {
		return
	}
	for i, e := range entries[len(entries)-len(proposed):] {
		if proposed[i].Commands != nil {
			proposed[i].MoveTo(e.GetData())
			n.state.decoded[e.GetIndex()] = decodedBatch{e, proposed[i]}
		}
		n.notices.want(proposed[i].From, e.GetIndex())
	}
}

// send gives a message of the library to its link. A snapshot travels with its state.
func (n *Node) send(r *raftpb.Message) {
	m := &wire.Message{From: n.identity.NodeID, To: r.GetTo(), Raft: r}
	switch r.GetType() {
	case raftpb.MsgHeartbeat:
		n.noteContext(r)
		n.tellSeen(r)
		m.Lease = n.stamp(r)
	case raftpb.MsgApp:
		m.Lease = n.stamp(r)
	case raftpb.MsgAppResp, raftpb.MsgHeartbeatResp:
		m.Lease = n.echo(r)
	case raftpb.MsgTimeoutNow:
		n.lease.given = true
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

// apply applies committed entries. Applying answers callers, and answers make claims as messages do (durable.go).
func (n *Node) apply(entries []*raftpb.Entry) error {
	if last := entries[len(entries)-1].GetIndex(); last > n.raft.saved.last || !n.holds(claim{commit: last}) {
		return fmt.Errorf("node: entries up to %d are to be applied, and the log holds %+v", last, n.raft.saved)
	}
	if n.timer != nil {
		n.timer.Applying()
		defer n.timer.Applied()
	}
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
	n.compaction.grown += uint64(len(e.GetData())) + entryFrame
	n.counts.appliedBytes += uint64(len(e.GetData()))
	n.spent += len(e.GetData())
	n.commands.logged -= min(n.commands.logged, uint64(len(e.GetData())))
	n.peers.walk.applied(index)
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
	n.state.system.outgrow(index)
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

// applyStep applies a step of the Raft configuration. The lists follow it.
func (n *Node) applyStep(cc *raftpb.ConfChangeV2) error {
	step := cc.GetChanges()[0]
	id, own := step.GetNodeId(), step.GetNodeId() == n.identity.NodeID
	voted := slices.Contains(n.raft.log.conf.GetVoters(), id)
	if step.GetType() != wire.AddVoter && voted && len(without(n.raft.log.conf, id).GetVoters()) == 0 {
		return fmt.Errorf("no voter is left without server %d", id) // the library would panic
	}
	switch {
	case own && step.GetType() == wire.RemoveNode:
		n.raft.log.conf = without(n.raft.log.conf, id) // not the library: see removal.go
	case own && step.GetType() == wire.AddLearner && voted:
		n.raft.log.conf = asLearner(n.raft.log.conf, id) // nor here: see demotion.go
	default:
		n.raft.log.conf = n.raft.raw.ApplyConfChange(cc)
	}
	n.renewLease()
	n.log.Info("configuration", "step", step.GetType().String(), "server", id,
		"voters", fmt.Sprint(slices.Sorted(slices.Values(n.raft.log.conf.GetVoters()))), "learners", fmt.Sprint(n.raft.log.conf.GetLearners()))
	switch step.GetType() {
	case wire.RemoveNode:
		n.state.system.left(id)
		delete(n.peers.acked, id)
		if own {
			n.remove()
		}
		n.settleRemovals()
		n.linkPeers()
	case wire.AddLearner:
		n.state.system.learns(id, voted)
		n.settleRemovals()
	}
	return nil
}
