package node

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// In a cluster that was configured so (system.LeaseReads) a leader need not ask the others before it answers a query, while
// it has a lease (Raft thesis §6.4.1). docs/SAFETY.md tells why this is right, and what it assumes.
//
//	stamp    when the leader sent a MsgApp or a MsgHeartbeat, by its clock
//	pledge   a voter that has taken one in elects nobody for the least election timeout: it votes for none, and makes no
//	         ticks. It is bound when it says so, and says so by the echo of the stamp
//	lease    lasts for the least election timeout, less what clocks may differ by, from the newest stamp that a majority
//	         has echoed. So it ends before any of these pledges
//
// A pledge is no line of the log. So a server that may have pledged itself before it was started pledges itself anew.
//
// All of this is measured by Env.Uptime. A leader that tells another to take over gives its lease up: the votes for that
// one break pledges.

// rateBound: the clocks of two servers go at rates that differ by less than one part in it. NB: It is not about quartz. A
// program that sets the clock right may run this one up to 8.3 % too fast or too slow meanwhile (chrony).
const rateBound = 5

// lease is a leader's.
type lease struct {
	term   uint64                   // in which it leads
	sent   time.Duration            // the newest stamp
	echoed map[uint64]time.Duration // by server, the newest one
	stamps []time.Duration          // memory of renewLease
	until  time.Duration            // it lasts; 0: there is none
	given  bool                     // up, for this term
}

// pledge is a voter's.
type pledge struct {
	until    time.Duration // 0: it never made one
	to, term uint64        // the leader, and in which term
	stamp    time.Duration // the newest of its stamps
}

// stamp is what goes with a leader's message. It may be older than the message, but not newer.
func (n *Node) stamp(r *raftpb.Message) uint64 {
	l := &n.lease
	if !n.state.system.LeaseReads || n.raft.role != raft.StateLeader || r.GetTerm() != l.term {
		return 0
	}
	if now, ok := n.env.Uptime(); ok {
		l.sent = now
	}
	return uint64(l.sent)
}

// makePledge binds this server to the leader whose message it has taken in. What it had promised to others stays.
func (n *Node) makePledge(m *wire.Message) {
	if m.Lease == 0 || m.Lease > math.MaxInt64 || !n.state.system.LeaseReads {
		return
	}
	status, p := n.raft.raw.BasicStatus(), &n.pledge
	now, ok := n.env.Uptime()
	if !ok || status.Lead != m.From || status.GetTerm() != m.Raft.GetTerm() {
		return
	}
	if p.to != m.From || p.term != m.Raft.GetTerm() {
		p.to, p.term, p.stamp = m.From, m.Raft.GetTerm(), 0
	}
	p.until = max(p.until, now+n.pledgeTime())
	p.stamp = max(p.stamp, time.Duration(m.Lease))
}

func (n *Node) pledgeTime() time.Duration {
	return time.Duration(n.state.system.Min) * time.Millisecond
}

// renewPledge is called at the start. Entries are those that are not applied yet: they may have been before. NB: That leases
// are on in the snapshot is not asked for. They may have been turned off in an entry that is in it, and by which the leader
// was not bound yet when this server ended.
func (n *Node) renewPledge(entries []*raftpb.Entry) {
	leases := n.state.system.Level >= wire.LeaseLevel || slices.ContainsFunc(entries, configures)
	if now, ok := n.env.Uptime(); ok && leases {
		n.pledge.until = now + n.pledgeTime()
	}
}

// configures tells whether an entry may be a Configure. It stands alone, behind who has proposed it.
func configures(e *raftpb.Entry) bool {
	data := e.GetData()
	return bytes.Contains(data[:min(len(data), 512)], []byte(`[{"Configure":`))
}

// pledged is for how long this server is bound.
func (n *Node) pledged() time.Duration {
	if n.pledge.until == 0 {
		return 0
	}
	now, _ := n.env.Uptime()
	return max(n.pledge.until-now, 0)
}

// keepsStill tells whether this server may not answer a candidate. NB: Also not in its own term. A rejection may have brought
// it there from the term of its pledge, and it has not voted yet.
func (n *Node) keepsStill(r *raftpb.Message) bool {
	return n.pledged() > 0 && string(r.GetContext()) != campaignTransfer
}

// campaignTransfer is the context of votes for a server that its leader has told to take over.
const campaignTransfer = "CampaignTransfer"

// echo is the stamp that goes with an acknowledgement.
func (n *Node) echo(r *raftpb.Message) uint64 {
	if p := &n.pledge; n.state.system.LeaseReads && p.to == r.GetTo() && p.term == r.GetTerm() {
		return uint64(p.stamp)
	}
	return 0
}

// noteEcho notes a voter's pledge.
func (n *Node) noteEcho(m *wire.Message) {
	l, stamp := &n.lease, time.Duration(m.Lease)
	if stamp <= l.echoed[m.From] || stamp > l.sent || m.Raft.GetTerm() != l.term {
		return
	}
	if l.echoed == nil {
		l.echoed = map[uint64]time.Duration{}
	}
	l.echoed[m.From] = stamp
	n.renewLease()
}

// renewLease finds out how long the lease lasts, from the echoes of those who vote now. NB: Others may have applied a step
// of the configuration more, or less, but no two (docs/SAFETY.md). So a majority of theirs contains one of those counted here.
func (n *Node) renewLease() {
	l := &n.lease
	if n.raft.role != raft.StateLeader {
		return
	}
	l.stamps = l.stamps[:0]
	n.raft.raw.WithProgress(func(id uint64, kind raft.ProgressType, _ tracker.Progress) {
		switch {
		case kind != raft.ProgressTypePeer:
		case id == n.identity.NodeID:
			l.stamps = append(l.stamps, never) // this server votes for nobody without giving the lease up
		default:
			l.stamps = append(l.stamps, l.echoed[id])
		}
	})
	if len(l.stamps) == 0 {
		l.until = 0
		return
	}
	slices.Sort(l.stamps)
	switch stamp := l.stamps[(len(l.stamps)-1)/2]; stamp { // a majority has echoed this one, or a newer one
	case 0, never:
		l.until = stamp
	default:
		l.until = stamp + n.pledgeTime() - n.pledgeTime()/rateBound
	}
}

// leased tells whether this leader's lease lasts.
func (n *Node) leased() bool {
	if !n.Leases() {
		return false
	}
	now, ok := n.env.Uptime()
	return ok && n.leasedAt(now)
}

// leasedAt takes a time of 0 for none.
func (n *Node) leasedAt(now time.Duration) bool {
	return n.Leases() && 0 < now && now < n.lease.until
}

// Leases tells whether this server leads and may have a lease.
func (n *Node) Leases() bool {
	return n.state.system.LeaseReads && n.leading() && n.lease.term == n.raft.term && n.lease.until > 0 && !n.lease.given
}

// LeasedQuery runs a query under this leader's lease. Now is what Env.Uptime has told since the query came. It may be called
// between all other calls, and while Env.Save is under way. It reports false if there is no lease, if more is committed
// than is applied, or if the query wants to wait: then it must be given to Request.
//
// NB: The clock is looked at before the machine is. What happens in between does no harm: whatever was acknowledged before
// the query came was committed here when the lease lasted, and is in what the query sees.
func (n *Node) LeasedQuery(input json.RawMessage, now time.Duration) (out json.RawMessage, err *jsonrpc.Error, ok bool) {
	if n.failed != nil || n.stopping || n.removed || n.state.applied.Index < n.raft.hard.Commit || !n.leasedAt(now) {
		return nil, nil, false
	}
	out, err, keys := n.ask(&query{kind: machine.Query, input: input}, false)
	return out, err, len(keys) == 0
}
