package node

import (
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// timers let the machine run at the times that it wants (machine.Timer), and sessions end. The leader logs an entry when a
// moment has come by its clock. What is due is decided when that is applied, from the state alone: so an entry too many,
// or one whose moment has been moved, does nothing.
type timers struct {
	machine   machine.Timer // nil: the user's machine is none
	proposing bool          // an entry of ours is under way
	pause     time.Duration // before this time none is proposed, since the last was; 0: that was applied
	wake      time.Duration // when to look again; never: nothing is due
}

const timerPause = 10 * time.Millisecond // after an attempt that failed

func newTimers(m machine.Machine) timers {
	t := timers{wake: never}
	t.machine, _ = m.(machine.Timer)
	return t
}

// nextTimer is the moment when something is due next.
func (n *Node) nextTimer() (at time.Time, ok bool, err error) {
	if end, some := n.state.system.sessions.firstEnd(); some {
		at, ok = time.UnixMilli(end), true
	}
	own, err := n.machineTimer()
	if !own.IsZero() && (!ok || own.Before(at)) {
		at, ok = own, true
	}
	return at, ok, err
}

// machineTimer asks the user's machine.
func (n *Node) machineTimer() (at time.Time, err error) {
	if n.timers.machine == nil {
		return time.Time{}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = panicked("in NextTimer", p)
		}
	}()
	return n.timers.machine.NextTimer(), nil
}

// due tells how long it is until something is due. Only a leader that has applied the start of its term looks: what
// earlier ones have logged is applied then.
func (n *Node) timerDue() (in time.Duration, ok bool) {
	if n.timers.proposing || n.removed || n.stopping || n.failed != nil || n.raft.raw == nil || !n.leading() {
		return 0, false
	}
	at, ok, err := n.nextTimer()
	if err != nil {
		n.Fail(err)
		return 0, false
	}
	if !ok {
		return 0, false
	}
	in = max(at.Sub(time.UnixMilli(n.clock.now())), 0)
	return max(in, n.timers.pause-n.clock.elapsed), true
}

// proposeTimer proposes an entry, if something is due.
func (n *Node) proposeTimer() {
	if in, ok := n.timerDue(); ok && in <= 0 {
		n.timers.proposing, n.timers.pause = true, n.clock.elapsed+timerPause
		n.enqueue(command{&errand{&n.timers.proposing}, never, wire.Command{System: &wire.System{Timer: &wire.Timer{At: n.clock.now()}}}})
	}
}

// lookAtTimers notes when something is due next. It is called at the end of a turn.
func (n *Node) lookAtTimers() {
	n.timers.wake = never
	if in, ok := n.timerDue(); ok && in < never-n.clock.elapsed {
		n.timers.wake = n.clock.elapsed + in
	}
}

// applyTimer does what is due: sessions end, and then the machine runs.
func (n *Node) applyTimer(index uint64, t *wire.Timer) error {
	n.timers.pause = 0
	n.state.time = max(n.state.time, t.At) // the moment that has come, if the leader's clock has gone back since
	n.clock.applied(n.state.time)
	offset := 0
	sessions := n.state.system.sessions
	for _, id := range sessions.ended(n.state.time, sessions.bounds.Sweep) {
		if err := n.endSession(index, offset, id); err != nil {
			return err
		}
		offset++
	}
	at, err := n.machineTimer()
	if err != nil || at.IsZero() || at.After(time.UnixMilli(n.state.time)) {
		return err
	}
	return n.upkeep("in OnTimer", index, offset, n.timers.machine.OnTimer)
}

// upkeep lets the machine do something that is no request. A panic ends the server, as in a command.
func (n *Node) upkeep(what string, index uint64, offset int, run func(*machine.Context)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(what, p)
		}
	}()
	ctx := n.context(machine.Command, index, offset)
	ctx.Upkeep = true
	run(ctx)
	n.takeEffects()
	return nil
}
