package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// clock has the two times of the core: elapsed is monotonic and drives ticks and deadlines, wall stamps entries. A wall
// clock that jumps lets no request expire.
//
// The library counts its time in ticks (see Timeouts.Tick). Most ticks change nothing, but each would wake the server
// up, and an idle server does little else. So ticks are made together, when the last of them may change something:
//
//	leader    HeartbeatTicks at once: they contain one heartbeat
//	follower  electionTicks-1 at once, since it has heard of its leader. From then on each tick may make it campaign
//	others    each tick alone
//
// Who is bound by a pledge (lease.go) makes no ticks, unless it leads, and then those of a follower at once.
type clock struct {
	elapsed time.Duration
	wall    time.Time
	next    time.Duration // when the library's next tick is due
	calm    time.Duration // until then ticks are not made, though they are due
	heard   time.Duration // when this server last heard of its leader
	asked   time.Duration // when it last asked whether that is still there: lost.go
	lost    bool          // it hears nothing of it

	base   int64         // an applied time, Unix milliseconds,
	baseAt time.Duration // and when it was applied: see now
}

// electionTicks is the least that a follower waits before it campaigns. The library adds chance: up to as much again.
const electionTicks = 10

// SetTime tells the time, before anything else is taken in: elapsed is since the core's start, by a clock that never
// goes back. Deadlines count from it.
func (n *Node) SetTime(elapsed time.Duration, wall time.Time) {
	n.clock.elapsed, n.clock.wall = max(elapsed, n.clock.elapsed), wall
}

// now is the time that a leader gives to entries, in Unix milliseconds: that of its wall clock, or, if that is behind
// what earlier leaders have told, theirs as it has gone on since. So timers and sessions go on at the pace of time,
// though never back, whose clock ever is wrong.
func (c *clock) now() int64 {
	return max(c.wall.UnixMilli(), c.base+(c.elapsed-c.baseAt).Milliseconds())
}

// applied notes an applied time.
func (c *clock) applied(t int64) {
	if t > c.base+(c.elapsed-c.baseAt).Milliseconds() {
		c.base, c.baseAt = t, c.elapsed
	}
}

// Tick does what is due at the time last set. It is called after everything that has arrived was taken in. After a
// pause the inbox holds heartbeats, and the library must hear them before it is told how much time has passed.
func (n *Node) Tick() {
	n.expire()
	n.cancel() // afterwards: whose deadline has passed too is told so
	n.releaseDue()
	n.askRest()
	if n.raft.raw == nil || n.tickDue() > n.clock.elapsed {
		return
	}
	if left := n.pledged(); left > 0 && n.raft.raw.BasicStatus().RaftState != raft.StateLeader {
		n.clock.calm = n.clock.elapsed + left // the library would come nearer to a campaign
		return
	}
	n.peers.commitBefore = n.raft.hard.Commit
	n.reads.questions.ticked, n.reads.questions.stale = true, true
	n.countSilence()
	n.looksForLeader()
	n.warnAstray()
	c, tick := &n.clock, n.state.system.Tick()
	// NB: After a pause (SIGSTOP, a sleeping machine) the library gets electionTicks-1 of the missed ticks, at most.
	// With all of them it would campaign before it has read the heartbeats that wait in the sockets.
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

// heard notes that this follower has heard of its leader. The library starts to wait anew, and so do its ticks.
func (n *Node) heard() {
	tick := n.state.system.Tick()
	n.clock.heard = n.clock.elapsed
	n.clock.next = n.clock.elapsed + tick
	n.clock.calm = n.clock.elapsed + (electionTicks-1)*tick
}

// changedRole starts the ticks of a new role, or under a new leader. The library has started to count from 0: ticks
// that were not made before are void.
func (n *Node) changedRole() {
	tick := n.state.system.Tick()
	n.clock.next, n.clock.calm = n.clock.elapsed+tick, 0
	if n.raft.role == raft.StateLeader {
		n.clock.calm = n.clock.elapsed + time.Duration(n.cfg.HeartbeatTicks)*tick
	} else if n.raft.role == raft.StateFollower && n.raft.lead != raft.None {
		n.heard()
	}
}

// Wake tells by when SetTime and Tick must be called next, as a duration since the core's start; ok is false if never.
func (n *Node) Wake() (at time.Duration, ok bool) {
	at = n.deadlines.next
	if n.raft.raw != nil {
		at = min(at, n.tickDue())
	}
	if n.pace.until > 0 {
		at = min(at, n.pace.until)
	}
	if len(n.notices.held) > 0 {
		at = min(at, n.notices.due)
	}
	if due := n.roundDue(); len(n.reads.waiting) > 0 && due > n.clock.elapsed {
		at = min(at, due)
	}
	at = min(at, n.timers.wake, n.abandonDue(), n.saveDue())
	if n.backlog() {
		at = n.clock.elapsed
	}
	return at, at != never
}
