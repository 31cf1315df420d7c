package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// pace lets commands gather, since an entry costs each server a turn and a sync, whether it holds one command or a
// thousand. A command that comes alone does not wait. Others do
//
//   - while those before them are under way, as TCP does with what is less than a segment (Nagle, RFC 896): maxHolds at most;
//   - and then for the callers of those just answered, who most often ask for the next thing at once: as long as a sync takes, and
//     HoldCommands at least. Whoever went ahead would have them wait for a round: callers who wait for answers would move as
//     two groups that take turns.
//
// The second is in vain if those callers do not come; and if others come in their place, so that just as many wait when the batch
// is committed. After maxVain times in a row it rests.
type pace struct {
	until time.Duration // when what is held must go; 0: nothing is held
	sync  time.Duration // how long saving took here, the last time

	away   int           // commands that were answered, less those that have come since
	awayBy time.Duration // how long they are waited for
	wait   wait          // what has become of it
	vain   int           // how often in a row it was in vain
	rest   time.Duration // nobody is waited for before
}

// wait is what became of waiting for callers.
type wait uint8

const (
	notYet  wait = iota // since the last proposal
	waiting             // what waits for the next one waits for them
	allCame             // the last proposal did, and all have come
)

const (
	maxVain  = 3
	restTime = 100 * time.Millisecond
	maxHolds = 10 // Config.HoldCommands that anything is held for

	leastEnough = 128
	commandTime = 5 * time.Microsecond // about what one costs
)

// gathers tells whether what waits should wait on. held is until when, if it was held before.
func (n *Node) gathers(status raft.BasicStatus, held time.Duration) bool {
	p, now := &n.pace, n.clock.elapsed
	if n.cfg.HoldCommands == 0 || n.commands.gathered.bytes >= maxBatch {
		return false
	}
	if n.underWay(status) {
		if held == 0 {
			held = now + maxHolds*n.cfg.HoldCommands
		}
		if now < held {
			p.until = held
			return true
		}
		return false
	}
	if p.away > 0 && now < p.awayBy && now >= p.rest && n.commands.gathered.count < p.enough() {
		p.until, p.wait = p.awayBy, waiting
		return true
	}
	return false
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
	return n.raft.log.last() > n.state.applied.Index
}

// came notes that so many commands have come.
func (p *pace) came(count int) { p.away = max(p.away-count, 0) }

// proposed notes that what waited goes.
func (p *pace) proposed(now time.Duration) {
	switch {
	case p.wait == waiting && p.away == 0:
		p.wait = allCame
	case p.wait == waiting:
		p.inVain(now)
	default:
		p.wait = notYet
	}
	p.away = 0
}

func (p *pace) inVain(now time.Duration) {
	p.wait = notYet
	if p.vain++; p.vain >= maxVain {
		p.rest = now + restTime
	}
}

// answered notes that the callers of so many commands may come again.
func (n *Node) answered(count int) {
	p, now := &n.pace, n.clock.elapsed
	if p.wait == allCame {
		if 4*n.commands.gathered.count > count {
			p.inVain(now)
		} else {
			p.wait, p.vain = notYet, 0
		}
	}
	p.away += count
	p.awayBy = now + min(max(p.sync, n.cfg.HoldCommands), maxHolds*n.cfg.HoldCommands)
}
