package node

import (
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// notices are a leader's MsgApps without entries: they only tell a follower how far the log is committed. The library
// makes them for all followers at each commit, and each one costs two wake-ups on each side. So they are held back for
// Config.HoldNotices. Most often the next command has come by then, and its MsgApp tells the same. A follower whose own
// callers wait for what is committed is told at once.
type notices struct {
	held   map[uint64]*raftpb.Message // by follower
	due    time.Duration              // when the first of held must go
	told   map[uint64]uint64          // the commit index that a follower was told, by follower
	wanted map[uint64]uint64          // the index that a follower's callers wait for, by follower
}

func (c *notices) reset() {
	*c = notices{held: map[uint64]*raftpb.Message{}, told: map[uint64]uint64{}, wanted: map[uint64]uint64{}}
}

// want notes that callers of a follower wait for index.
func (c *notices) want(id, index uint64) { c.wanted[id] = max(c.wanted[id], index) }

// forget drops what is known of a follower. It may have forgotten what it was told.
func (c *notices) forget(id uint64) {
	delete(c.held, id)
	delete(c.told, id)
	delete(c.wanted, id)
}

// hold tells whether a message is held back. Of a message that goes it notes what it tells.
func (n *Node) hold(m *raftpb.Message) bool {
	c, to := &n.notices, m.GetTo()
	if !n.holdsNotices() {
		return false
	}
	if m.GetType() == raftpb.MsgApp && len(m.GetEntries()) == 0 && c.told[to] >= c.wanted[to] {
		if _, streams := n.follows(to); streams {
			if len(c.held) == 0 {
				c.due = n.clock.elapsed + n.cfg.HoldNotices
			}
			c.held[to] = m
			return true
		}
	}
	n.noteSent(m)
	if m.GetType() == raftpb.MsgReadIndexResp && c.told[to] < m.GetIndex() {
		n.release(to)
	}
	return false
}

func (n *Node) holdsNotices() bool { return n.raft.role == raft.StateLeader && n.cfg.HoldNotices > 0 }

// noteSent notes what a message tells that goes. If it tells as much as the notice held for the same server, that one
// is dropped.
func (n *Node) noteSent(m *raftpb.Message) {
	c, to := &n.notices, m.GetTo()
	if !n.holdsNotices() {
		return
	}
	switch m.GetType() {
	case raftpb.MsgApp:
		c.told[to] = max(c.told[to], min(m.GetCommit(), m.GetIndex()+uint64(len(m.GetEntries()))))
		delete(c.held, to)
	case raftpb.MsgHeartbeat:
		c.told[to] = max(c.told[to], m.GetCommit())
		// NB: A notice that names entries not yet acknowledged is not dropped. By it the library finds out that these
		// entries, or their acknowledgement, were lost.
		if held := c.held[to]; held != nil && held.GetCommit() <= m.GetCommit() {
			if match, _ := n.follows(to); match >= held.GetIndex() {
				delete(c.held, to)
			}
		}
	case raftpb.MsgSnap:
		delete(c.held, to)
	case raftpb.MsgReadIndexResp:
		c.want(to, m.GetIndex())
	}
}

// follows tells up to where a follower's log is known to equal the leader's, and whether the library streams the rest
// to it. If it does not stream but probes, an empty MsgApp is a question, and must not be held back.
func (n *Node) follows(id uint64) (match uint64, streams bool) {
	n.raft.raw.WithProgress(func(follower uint64, _ raft.ProgressType, pr tracker.Progress) {
		if follower == id {
			match, streams = pr.Match, pr.State == tracker.StateReplicate
		}
	})
	return match, streams
}

// release sends the notice held for a server.
func (n *Node) release(id uint64) {
	if m := n.notices.held[id]; m != nil {
		delete(n.notices.held, id)
		n.notices.told[id] = max(n.notices.told[id], min(m.GetCommit(), m.GetIndex()))
		n.say(m)
	}
}

// releaseAll sends all notices.
func (n *Node) releaseAll() {
	for _, id := range slices.Sorted(maps.Keys(n.notices.held)) {
		n.release(id)
	}
}

// releaseDue sends them when the first has waited long enough.
func (n *Node) releaseDue() {
	if len(n.notices.held) > 0 && n.notices.due <= n.clock.elapsed {
		n.releaseAll()
	}
}
