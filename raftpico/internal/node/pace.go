package node

import (
	"time"

	"go.etcd.io/raft/v3"
)

// pace lets commands gather. An entry costs each server a turn and a sync, whether it holds one command or a thousand.
// A command that comes alone does not wait. Others wait for two things, one after the other:
//
//   - The commands before them are committed. (TCP does the same with less than a segment: Nagle, RFC 896.) They wait for
//     maxHolds at most.
//   - The callers just answered have come again. Most callers ask for the next thing at once. They are waited for as long
//     as a sync takes, and HoldCommands at least. If the others went ahead, those callers would wait for a whole round,
//     and all callers would go on as two groups that take turns.
//
// The second wait is in vain if those callers do not come, or if just as many others are waiting when the batch is
// committed. After maxVain times in a row, nobody is waited for during restTime.
type pace struct {
	until time.Duration // when held commands must go; 0: none are held
	sync  time.Duration // how long the last save took here

	away   int           // commands that were answered, less those that have come since
	awayBy time.Duration // how long their callers are waited for
	wait   wait          // what has become of that
	vain   int           // how often in a row it was in vain
	rest   time.Duration // before this time nobody is waited for
}

// wait tells whether callers are waited for.
type wait uint8

const (
	notYet  wait = iota // not waited since the last proposal
	waiting             // the next proposal waits for them
	allCame             // the last proposal waited for them, and all came
)

const (
	maxVain  = 3
	restTime = 100 * time.Millisecond
	maxHolds = 10 // times Config.HoldCommands: the longest that commands are held

	leastEnough = 128
	commandTime = 5 * time.Microsecond // about what one costs
)

// gathers tells whether the waiting commands should wait longer. held is until when they were held before, or 0.
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

// enough is how many commands need not wait for callers: so many take as long as the disk does.
func (p *pace) enough() int { return max(leastEnough, int(p.sync/commandTime)) }

// underWay tells whether something that this server has proposed is not yet applied. On a leader everything in its log
// counts, also what others proposed.
func (n *Node) underWay(status raft.BasicStatus) bool {
	if status.RaftState != raft.StateLeader {
		sent := n.commands.sent
		return len(sent) > 0 && !sent[len(sent)-1].astray
	}
	return n.raft.log.last() > n.state.applied.Index
}

// came notes that so many commands have come.
func (p *pace) came(count int) { p.away = max(p.away-count, 0) }

// proposed notes that the waiting commands go.
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
