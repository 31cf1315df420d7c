// Package loop is a server's event loop: it joins the core (package node) with the disk, the links to other servers and
// those who wait for answers, and does one turn at a time with them.
//
// What comes is left in the inbox, by any goroutine, or is asked of the loop, by one that may wait. A turn takes it, gives it
// to the core, and carries out what the core wants (env); what takes long it hands to goroutines beside it, whose results
// come back through the inbox. Files, from the bottom: inbox, answers, self, links, disk, receptions, snapshots, env; turn and
// loop; local, call and members for those who bring something; standings for those who watch.
package loop

import (
	"sync/atomic"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/raftpico/internal/node"
)

// Loop owns the core, the machine and the log file, and does one turn at a time with them (turn.go), which waits for nothing
// but the file's sync. Its exported methods may be called on any goroutine, but not in a turn.
type Loop struct {
	*self
	env       *env
	turns     turns
	standings standings
	leases    atomic.Bool // this server may have a lease, as of the last turn
	began     time.Time
	ending    ending
	gone      gone
	refused   refused
	metering  metering
	stored    node.Stored // until Begin
}

// heartbeatTicks is from one heartbeat to the next: 3 of the 10 that a follower waits at least. Most of what an idle cluster
// costs is waking up for them.
const heartbeatTicks = 3

// Bytes of entries: in one message to another server; in all that a follower has not acknowledged; of committed ones that
// the library hands out at once; and of those kept before a snapshot, so that a follower a little behind needs none.
//
// A slow follower holds all that it has not acknowledged, as read and decoded, and then writes it as one line: some four
// times inflight. For a fast one it is the most that may be on its way: 8 MiB are 80 MB/s where a round takes 100 ms.
const (
	messageSize = 1 << 20
	inflight    = 8 << 20
	pageSize    = 256 << 10
	trailing    = 1 << 20
)

// How long a command may wait for others at least, if there are such that it should wait for, and a follower none of whose
// clients waits for it, for the news of a commit: little beside what a turn takes on two busy cores.
const (
	holdCommands = time.Millisecond
	holdNotices  = 2 * time.Millisecond
	holdReads    = time.Millisecond
)

// Open opens the log file, if there is one, and puts the state in it into the machine. Close is to be called in the end, and
// Run in between if Begin has returned nil.
func Open(c Config) (*Loop, error) {
	l := &Loop{self: newSelf(c), began: time.Now(), turns: newTurns()}
	l.env = newEnv(l.self)
	var err error
	if l.stored, err = l.env.open(); err != nil {
		return nil, err
	}
	l.instance = l.stored.Instance
	return l, nil
}

// Begin makes the core of a server that others reach at addr.
func (l *Loop) Begin(addr string) error {
	l.addr, l.cluster = addr, random()
	core, err := node.New(node.Config{
		Release: api.Release(),
		Machine: l.Machine, Addr: addr, Boot: random()[:16], ClusterID: l.cluster, ClusterKey: random() + random(),
		Deadline: l.Deadline, MaxTimeout: l.MaxTimeout, MaxPending: l.MaxPending, MaxWaiting: l.MaxWaiting, WaitingBytes: l.WaitingBytes, MaxUncommitted: uint64(l.MaxUncommitted), CompactAfter: uint64(l.CompactAfter),
		Trailing: trailing, MessageSize: messageSize, Inflight: inflight, PageSize: pageSize, HeartbeatTicks: heartbeatTicks,
		HoldCommands: holdCommands, HoldNotices: holdNotices, HoldReads: holdReads, CheckState: l.CheckState, RemoveDead: l.RemoveDead, Founders: l.Founders, Joining: l.Joining,
		Logger: l.Logger.With("self", addr),
	}, l.env, l.stored)
	if err != nil {
		return err
	}
	l.node, l.stored = core, node.Stored{}
	if identity, ok := core.Identity(); ok {
		l.identity.Store(&identity)
	}
	l.env.SetPeers(core.Peers())
	l.standings.tell(core)
	l.metering.last, l.metering.at = l.measure(), time.Now()
	if l.env.log != nil {
		l.beside.Go(l.env.watchFile)
	}
	return nil
}

// Run is the life of the loop's goroutine. It returns when the loop has ended, everybody has been answered, and nothing new is
// taken: nil after Drain, else why the server failed.
func (l *Loop) Run() error {
	l.beside.Go(l.watch)
	err := l.takeTurns()
	if l.ending.whom = errStopped; err == nil {
		l.ending.whom = l.node.Leaving()
	}
	close(l.ended)
	l.standings.end(l.overBecause(err))
	l.env.machine.lock() // as in a turn
	defer l.env.machine.unlock()
	items, requests := l.inbox.close()
	for _, item := range items {
		item()
	}
	l.carryOut(requests, time.Hour) // the core refuses them by now, but answers them
	l.env.answers.flush()
	l.beside.stop()
	l.env.links.endAll()
	return err
}

// Close waits for what was begun beside the loop, and closes the log.
func (l *Loop) Close() error {
	l.beside.stop()
	if log := l.env.log; log != nil {
		log.Hurry()
	}
	l.beside.Wait()
	l.metering.wait()
	return l.env.close()
}

// Elapsed is the time as the core counts it.
func (l *Loop) Elapsed() time.Duration { return time.Since(l.began) }

// Cluster is the id of the cluster that this server would create.
func (l *Loop) Cluster() string { return l.cluster }

// Fail ends the server because of something outside the loop.
func (l *Loop) Fail(err error) {
	l.inbox.post(func() { l.node.Fail(err) })
}
