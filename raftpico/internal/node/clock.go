package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// clock has the two times of the core: elapsed is monotonic and drives ticks and deadlines, wall only stamps entries.
// A wall clock that jumps expires nothing.
//
// The library's own time is counted in ticks (see Timeouts.Tick). Most of them change nothing, and an idle server is nearly all
// wake-ups. So ticks are made together, at the time when the last of them may change something:
//
//	leader    HeartbeatTicks of them, which contain one heartbeat
//	follower  electionTicks-1 of them since it has heard of its leader; from then on each one may make it campaign
//	others    each one
type clock struct {
	elapsed time.Duration
	wall    time.Time
	next    time.Duration // when the library's next tick is due
	calm    time.Duration // until then ticks are not made, though they are due
}

// electionTicks is the least that a follower waits before it campaigns. The library adds chance: up to as much again.
const electionTicks = 10

// SetTime tells the time before anything else is taken in: elapsed since the core's start by a clock that never goes
// back, and the wall clock. Deadlines count from it.
func (n *Node) SetTime(elapsed time.Duration, wall time.Time) {
	n.clock.elapsed, n.clock.wall = max(elapsed, n.clock.elapsed), wall
}

// Tick does what is due at the time last set. It comes after all that has arrived was taken in: after a pause, heartbeats
// that wait in the inbox must be heard before the library is told how long it was.
func (n *Node) Tick() {
	n.expire()
	n.releaseDue()
	if n.raft.raw == nil || n.tickDue() > n.clock.elapsed {
		return
	}
	n.peers.commitBefore = n.raft.hard.Commit
	c, tick := &n.clock, n.state.system.Tick()
	// NB: After a pause (SIGSTOP, a sleeping machine) the library gets at most electionTicks-1 of the ticks it missed: with
	// all of them it would campaign before it has read the heartbeats that wait in the sockets.
	for made := 0; c.next <= c.elapsed; made++ {
		if made == electionTicks-1 {
			c.next = c.elapsed + tick
			break
		}
		n.raft.raw.Tick()
		c.next += tick
	}
	if n.raft.role == raft.StateLeader {
		c.calm = c.elapsed + time.Duration(n.cfg.HeartbeatTicks)*tick
	}
}

// tickDue is when ticks must be made.
func (n *Node) tickDue() time.Duration { return max(n.clock.next, n.clock.calm) }

// heard notes that this follower has heard of its leader: the library waits anew, and so its ticks begin anew.
func (n *Node) heard() {
	tick := n.state.system.Tick()
	n.clock.next = n.clock.elapsed + tick
	n.clock.calm = n.clock.elapsed + (electionTicks-1)*tick
}

// changedRole begins the ticks of another role, or under another leader.
func (n *Node) changedRole() {
	tick := n.state.system.Tick()
	n.clock.next = min(n.clock.next, n.clock.elapsed+tick)
	n.clock.calm = 0
	if n.raft.role == raft.StateLeader {
		n.clock.next = n.clock.elapsed + tick
		n.clock.calm = n.clock.elapsed + time.Duration(n.cfg.HeartbeatTicks)*tick
	} else if n.raft.role == raft.StateFollower && n.raft.lead != raft.None {
		n.heard()
	}
}

// Wake tells by when SetTime and Tick must be called next, as a duration since the core's start; ok is false if never.
func (n *Node) Wake() (at time.Duration, ok bool) {
	at = n.deadlines
	if n.raft.raw != nil {
		at = min(at, n.tickDue())
	}
	if n.pace.until > 0 {
		at = min(at, n.pace.until)
	}
	if len(n.notices.held) > 0 {
		at = min(at, n.notices.due)
	}
	if n.backlog() {
		at = n.clock.elapsed
	}
	return at, at != never
}
