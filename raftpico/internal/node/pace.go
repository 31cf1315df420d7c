package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// pace lets commands gather, since an entry costs each server a turn and a sync, whether it holds one command or a
// thousand. What has come waits, for about as long as a round takes in each case,
//
//   - while others are under way, as TCP does with what is less than a segment (Nagle, RFC 896);
//   - and then for the callers of those just answered, who most often ask for the next thing at once. Whoever went
//     ahead would have them wait for a whole round: callers who wait for answers would move as two groups that take turns.
//
// A command that comes alone does not wait. Waiting for callers is soon tried ever less often where it is in vain: if they don't
// come, come later than a round would have taken, or if others wait all the same when the next batch is committed, as where
// commands come by chance.
type pace struct {
	until time.Duration // when what is held must go; 0 if nothing is
	began time.Duration // when what was proposed last was
	round time.Duration // how long that before took to be committed
	sync  time.Duration // how long saving took here, the last time

	away   int           // commands that were answered, less those that have come since
	awayBy time.Duration // from when on they are not waited for
	held   bool          // something has been held for them
	since  time.Duration // since when
	merged int           // if they all have come: how many commands went as one then
	vain   int           // how often in a row waiting was in vain
	pass   int           // how many proposals don't wait
}

const (
	maxVain  = 7  // then one proposal of 1<<(maxVain-1) waits for callers
	maxHolds = 10 // Config.HoldCommands that anything is held for

	leastEnough = 128
	commandTime = 5 * time.Microsecond // about what one costs
)

// gathers tells whether what waits should wait on. held is until when, if it was held before.
func (n *Node) gathers(status raft.BasicStatus, held time.Duration) bool {
	p, now := &n.pace, n.clock.elapsed
	if n.cfg.HoldCommands == 0 {
		return false
	}
	count, size := n.gathered()
	switch {
	case size >= maxBatch:
	case n.underWay(status):
		if held == 0 {
			held = now + n.patience()
		}
		if now < held {
			p.until = held
			return true
		}
	case count < p.enough() && p.awaits(count, now):
		p.until = p.awayBy
		return true
	}
	p.began, p.held = now, false
	return false
}

// patience is how long anything is held: about a round.
func (n *Node) patience() time.Duration {
	return min(max(n.pace.round, n.cfg.HoldCommands), maxHolds*n.cfg.HoldCommands)
}

// enough is how many commands need not wait for callers: with these, a round costs what they cost rather than the disk's time.
func (p *pace) enough() int { return max(leastEnough, int(p.sync/commandTime)) }

// underWay tells whether what this server has proposed last is not yet applied, and its callers not yet answered. For a leader
// that is all of its log.
func (n *Node) underWay(status raft.BasicStatus) bool {
	if status.RaftState != raft.StateLeader {
		sent := n.commands.sent
		return len(sent) > 0 && !sent[len(sent)-1].astray
	}
	last, err := n.raft.log.LastIndex()
	return err == nil && last > n.state.applied.Index
}

// gathered is how many commands wait, and about how many bytes.
func (n *Node) gathered() (count int, size uint64) {
	for _, m := range n.commands.foreign {
		count += len(m.Propose.Commands)
		size += uint64(len(m.Propose.Encoded))
	}
	for i := range n.commands.waiting {
		size += n.commands.waiting[i].size()
	}
	return count + len(n.commands.waiting), size
}

// awaits tells whether count commands should wait for callers who may come again.
func (p *pace) awaits(count int, now time.Duration) bool {
	switch {
	case p.away > 0 && now < p.awayBy && p.pass == 0:
		if !p.held {
			p.held, p.since = true, now
		}
		return true
	case p.away > 0 && now < p.awayBy:
		p.pass--
	case p.held && (p.away > 0 || now-p.since > p.round): // who has waited would have been through with a round of its own
		p.inVain()
	case p.held:
		p.merged = count
	}
	p.away = 0
	return false
}

func (p *pace) inVain() {
	p.vain = min(p.vain+1, maxVain)
	p.pass = 1<<(p.vain-1) - 1
}

// came notes that so many commands have come.
func (p *pace) came(count int) { p.away = max(p.away-count, 0) }

// answered notes that the callers of so many commands may come again.
func (n *Node) answered(count int) {
	p, now := &n.pace, n.clock.elapsed
	if p.merged > 0 {
		if waiting, _ := n.gathered(); 4*waiting > p.merged {
			p.inVain()
		} else {
			p.vain = 0
		}
		p.merged = 0
	}
	p.round = now - p.began
	p.away += count
	p.awayBy = now + n.patience()
}
