package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// clock has the two times of the core: elapsed is monotonic and drives ticks and deadlines, wall only stamps entries.
// A wall clock that jumps expires nothing.
//
// The library's own time is counted in ticks (see Timeouts.Tick). Most of them change nothing: a leader does something at
// every heartbeat, a follower when it has not heard of its leader for electionTicks at the earliest. So they are made up for
// when there is something else to do, and an idle server sleeps between heartbeats.
type clock struct {
	elapsed time.Duration
	wall    time.Time
	next    time.Duration // when the library's next tick is due
	left    int           // ticks that this turn may still make
	beat    int           // ticks since this leader's last heartbeat
	quiet   int           // ticks since this follower has heard of its leader, at least
}

// electionTicks is the least that a follower waits before it campaigns. The library adds chance: up to as much again.
const electionTicks = 10

// SetTime tells the time before anything else is taken in: elapsed since the core's start by a clock that never goes
// back, and the wall clock. Deadlines count from it.
func (n *Node) SetTime(elapsed time.Duration, wall time.Time) {
	n.clock.elapsed, n.clock.wall = max(elapsed, n.clock.elapsed), wall
	n.clock.left = electionTicks - 1
	n.tick(n.harmless()) // before the message of the leader that has ended the sleep, as they were due before it
}

// Tick does what is due at the time last set. It comes after all that has arrived was taken in: after a pause, heartbeats
// that wait in the inbox must be heard before the library is told how long it was.
//
// NB: After a pause (SIGSTOP, a sleeping machine) the library gets at most electionTicks-1 of the ticks it missed: with
// all of them it would campaign before it has read the heartbeats that wait in the sockets.
func (n *Node) Tick() {
	n.expire()
	n.releaseDue()
	if n.raft.raw == nil || n.clock.next > n.clock.elapsed {
		return
	}
	n.peers.commitBefore = n.raft.hard.Commit
	n.tick(n.clock.left)
	if n.clock.next <= n.clock.elapsed {
		n.clock.next = n.clock.elapsed + n.state.system.Tick()
	}
}

// tick makes the library's ticks that are due, limit at most.
func (n *Node) tick(limit int) {
	c := &n.clock
	for limit = min(limit, c.left); limit > 0 && c.next <= c.elapsed; limit-- {
		n.raft.raw.Tick()
		c.next += n.state.system.Tick()
		c.left--
		c.quiet++
		c.beat = (c.beat + 1) % n.cfg.HeartbeatTicks
	}
}

// harmless is how many ticks a follower's library can be given without campaigning.
func (n *Node) harmless() int {
	if n.raft.raw == nil || n.raft.role != raft.StateFollower || n.raft.lead == raft.None {
		return 0
	}
	return max(electionTicks-1-n.clock.quiet, 0)
}

// idle is how many ticks need not be made when they are due.
func (n *Node) idle() int {
	if n.raft.role == raft.StateLeader {
		return n.cfg.HeartbeatTicks - 1 - n.clock.beat
	}
	return n.harmless()
}

// Wake tells by when SetTime and Tick must be called next, as a duration since the core's start; ok is false if never.
func (n *Node) Wake() (at time.Duration, ok bool) {
	if n.raft.raw != nil {
		at, ok = n.clock.next+time.Duration(n.idle())*n.state.system.Tick(), true
	}
	if n.pace.until > 0 {
		at = min(at, n.pace.until)
	}
	if len(n.notices.held) > 0 {
		at = min(at, n.notices.due)
	}
	if d, pending := n.firstDeadline(); pending && (!ok || d < at) {
		at, ok = d, true
	}
	if n.backlog() {
		at, ok = n.clock.elapsed, true
	}
	return at, ok
}
