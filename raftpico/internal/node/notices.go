package node

import (
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// notices are a leader's MsgApps without entries, that only tell a follower how far the log is committed. The library makes
// them for everybody at each commit, and each costs two wake-ups on each side. So they are held back for Config.HoldNotices:
// most often the next command is there by then, and its MsgApp tells the same. A follower that needs to know, since its
// own callers wait for what is committed, is told at once.
type notices struct {
	held   map[uint64]*raftpb.Message // by follower
	due    time.Duration              // when the first of them must go
	told   map[uint64]uint64          // the commit index, by follower
	wanted map[uint64]uint64          // the index that its callers wait for, by follower
}

func (c *notices) reset() {
	*c = notices{held: map[uint64]*raftpb.Message{}, told: map[uint64]uint64{}, wanted: map[uint64]uint64{}}
}

// want notes that callers of a follower wait for index.
func (c *notices) want(id, index uint64) { c.wanted[id] = max(c.wanted[id], index) }

// forget drops what is known of a follower, which may have forgotten it as well.
func (c *notices) forget(id uint64) {
	delete(c.held, id)
	delete(c.told, id)
	delete(c.wanted, id)
}

// hold tells whether a message waits. Of one that goes it notes what it tells.
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

// noteSent notes what a message tells that goes. It makes those held before for the same server needless, if it tells as much.
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
		// NB: One that names entries not yet acknowledged must go: it is also how the library finds out that they, or the
		// acknowledgement, were lost.
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

// follows tells up to where a follower's log is known to be the leader's, and whether the library streams it the rest. To one that
// it probes, an empty MsgApp is a question.
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
