package node

import (
	"slices"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// errand is a command that this server wants itself: nobody waits for what comes of it. One of a kind is under way at
// a time.
type errand struct{ underway *bool }

// runErrands looks what this server wants done.
func (n *Node) runErrands() {
	if n.raft.raw != nil && n.state.applied.Index > 0 {
		n.raiseVersion()
		n.proposeCheck()
		n.hashState()
		n.proposeTimer()
		n.proposeAbandon()
		n.proposeMove()
		n.removeDead()
	}
}

// runErrand has a command logged, unless a member can't read it.
func (n *Node) runErrand(underway *bool, c wire.System) {
	if n.unread(&c, wire.Level) != "" {
		return
	}
	*underway = true
	n.enqueue(command{&errand{underway}, n.deadline(&Request{}), wire.Command{System: &c}})
}

// dropErrands drops errands of some kinds that wait.
func (n *Node) dropErrands(kinds ...*bool) {
	c := &n.commands
	c.waiting = slices.DeleteFunc(c.waiting, func(w command) bool {
		e, ours := w.caller.(*errand)
		if !ours || !slices.Contains(kinds, e.underway) {
			return false
		}
		c.bytes -= w.size()
		c.gathered.count--
		c.gathered.bytes -= w.size()
		n.answer(w.caller, nil, ErrRejected)
		return true
	})
}

// leaveToLeader drops what waits, and is the leader's to look at, since another server leads: timers, and the dead.
func (n *Node) leaveToLeader() {
	if n.timers.proposing || n.dead.removing {
		n.dropErrands(&n.timers.proposing, &n.dead.removing)
	}
}
