package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// pace lets commands gather while others are on their way, as TCP does with what is less than a segment (Nagle, RFC 896):
// an entry costs each server a turn and a sync, whether it holds one command or a thousand. A command that comes alone does
// not wait; one that does waits until those before it are committed, and for Config.HoldCommands at most. Clients that
// wait for answers then move as one group. Callers in process, who come one by one, get three times as much done.
type pace struct {
	until time.Duration // when what is held must go; 0 if nothing is
}

// gathers tells whether what waits should wait on. before is the pace as the last turn left it.
func (n *Node) gathers(status raft.BasicStatus, before pace) bool {
	if !n.underWay(status) || n.fills(maxBatch) {
		return false
	}
	if before.until == 0 {
		before.until = n.clock.elapsed + n.cfg.HoldCommands
	}
	if n.clock.elapsed >= before.until {
		return false
	}
	n.pace = before
	return true
}

// underWay tells whether what this server has proposed last is not yet committed. For a leader that is all of its log.
func (n *Node) underWay(status raft.BasicStatus) bool {
	if status.RaftState != raft.StateLeader {
		return len(n.commands.sent) > 0
	}
	last, err := n.raft.log.LastIndex()
	return err == nil && last > status.GetCommit()
}

// fills tells whether what waits makes a batch of that size, in bytes.
func (n *Node) fills(size uint64) bool {
	var sum uint64
	for _, m := range n.commands.foreign {
		if sum += uint64(len(m.Propose.Encoded)); sum >= size {
			return true
		}
	}
	for i := range n.commands.waiting {
		if sum += n.commands.waiting[i].size(); sum >= size {
			return true
		}
	}
	return false
}
