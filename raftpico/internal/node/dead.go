package node

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// dead is what a leader knows of members that have fallen silent. With Config.RemoveDead it removes one that it has not
// heard of for that long, one at a time, and only if the others can spare it:
//
//	a voter     of the voters that are left, a majority and one more were heard of within an election timeout
//	a learner   a majority of the voters was
//
// So a cluster never shrinks below three voters, and what is left survives the loss of one more. That three are left is looked at
// again when the entry is applied (buries), since the configuration may be another by then: that alone is certain. The rest a leader
// looks at last when it logs the entry.
//
// The silence is counted in the time that this leader has itself been at work: while it was stopped it could hear nobody. A
// new leader begins to count anew.
type dead struct {
	term     uint64                   // in which silent was counted
	looked   time.Duration            // when it was last
	silent   map[uint64]time.Duration // for how long, by id
	removing bool                     // an entry of ours is under way, or the removal is not proven yet
}

// leastSilence is after how many election timeouts a server may be taken for dead, whatever Config.RemoveDead says.
const leastSilence = 10

// electionTimeout is the least time after which a follower campaigns.
func (n *Node) electionTimeout() time.Duration { return electionTicks * n.state.system.Tick() }

// alive tells whether a server has acknowledged something to this leader within an election timeout.
func (n *Node) alive(id uint64) bool { return id == n.identity.NodeID || n.hears(id) }

// countSilence counts how long the members were silent. It is called with the library's ticks.
func (n *Node) countSilence() {
	d := &n.dead
	if n.cfg.RemoveDead == 0 || !n.leading() {
		d.term = 0
		return
	}
	before := d.looked
	d.looked = n.clock.elapsed
	if d.term != n.raft.term {
		d.term, d.silent = n.raft.term, map[uint64]time.Duration{}
		return
	}
	passed := min(d.looked-before, n.electionTimeout()) // more was a pause of this server's
	silent := map[uint64]time.Duration{}
	for _, id := range n.state.system.ids() {
		if acked, heard := n.peers.acked[id]; id != n.identity.NodeID && (!heard || acked < before) {
			silent[id] = d.silent[id] + passed
		}
	}
	d.silent = silent
}

// removeDead proposes to remove a member that is dead, if there is one that can be spared, and nothing else is under way.
func (n *Node) removeDead() {
	d, s := &n.dead, n.state.system
	if d.term == 0 || d.term != n.raft.term || d.removing || n.stopping || n.removed || !n.leading() || !n.settled() {
		return
	}
	for _, id := range s.ids() {
		if !n.isDead(id) || !n.spares(id) {
			continue
		}
		c := wire.System{RemoveServer: &wire.RemoveServer{Addr: s.Members[id].Addr, ID: id}}
		if n.unread(&c, wire.Level) != "" {
			return
		}
		n.log.Warn("a member is dead, and is removed", "server", id, "addr", s.Members[id].Addr, "silent", d.silent[id].Round(time.Second))
		n.runErrand(&d.removing, c)
		return
	}
}

// isDead tells whether a member is dead. NB: It may have been heard of since its silence was counted.
func (n *Node) isDead(id uint64) bool {
	return n.dead.silent[id] >= max(n.cfg.RemoveDead, leastSilence*n.electionTimeout()) && !n.alive(id)
}

// recallDead drops the removal of a dead member that waits to be logged, if there is no reason for it any more: it may have come
// back, or others may be gone.
func (n *Node) recallDead() {
	d := &n.dead
	if !d.removing {
		return
	}
	for _, w := range n.commands.waiting {
		if e, ok := w.caller.(*errand); ok && e.underway == &d.removing {
			if c := w.command.System.RemoveServer; d.term != n.raft.term || !n.isDead(c.ID) || !n.spares(c.ID) || !n.settled() {
				n.log.Info("a member that was taken for dead stays: it was heard of again, or can't be spared now", "server", c.ID, "addr", c.Addr)
				n.dropErrands(&d.removing)
			}
			return
		}
	}
}

// settled tells whether the configuration is what the list wants, but for those who still have to catch up.
func (n *Node) settled() bool {
	s := n.state.system
	return len(s.Leaving)+len(s.Parting) == 0 && !n.stepping() && n.raft.raw.BasicStatus().LeadTransferee == raft.None &&
		!slices.ContainsFunc(s.ids(), func(id uint64) bool { return s.Members[id].Demotion != "" || !n.inConfiguration(id) })
}

// spares tells whether a server can be removed.
func (n *Node) spares(id uint64) bool {
	voters := n.raft.log.conf.GetVoters()
	left := without(n.raft.log.conf, id).GetVoters()
	alive := 0
	for _, v := range left {
		if n.alive(v) {
			alive++
		}
	}
	if slices.Contains(voters, id) {
		alive-- // one to spare
	}
	return alive > len(left)/2
}

// leastLeft is how many voters are left at least when one that is dead is removed.
const leastLeft = 3

// buries tells whether a dead member may be removed, where these are the voters of the configuration.
func (s *system) buries(id uint64, voters []uint64) bool {
	left := 0
	for _, v := range voters {
		if m, member := s.Members[v]; member && !m.Nonvoter && v != id {
			left++
		}
	}
	return left >= leastLeft || !slices.Contains(voters, id)
}
