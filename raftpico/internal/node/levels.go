package node

import (
	"fmt"
	"maps"
	"slices"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// levels are what the releases of the other servers can read (wire.Level), as each told when our link to it came up last.
// Nobody has a command logged that a member can't read: an older release would have to stop there. What a server was told
// outlives the link: a member that is down was of that level, and if it comes back with an older build, it alone stops. One that
// has told nothing since this server was started is taken for one of the first release: it may be down for good.
//
// The cluster's level (system.Level) is the highest that a command in the log ever needed. While it is low, any member may
// go back to a release that knows no more. From then on it takes nobody in who can't read that much.
type levels map[uint64]int

// unread tells why a command must not be logged yet, or "". Joiner is the level of the server that it adds.
func (n *Node) unread(c *wire.System, joiner int) string {
	needs, s := c.Level(), n.state.system
	if needs == 0 {
		return ""
	}
	if c.AddServer != nil && joiner < needs {
		return fmt.Sprintf("the server at %s runs an older release, which does not know this: start it with a newer one", c.AddServer.Addr)
	}
	if needs <= s.Level {
		return ""
	}
	for _, id := range slices.Concat(s.ids(), slices.Sorted(maps.Keys(s.Leaving)), slices.Sorted(maps.Keys(s.Parting))) {
		level, told := n.levels[id]
		m, _ := s.lookup(id)
		switch {
		case id == n.identity.NodeID, told && level >= needs:
		case c.RemoveServer != nil && c.RemoveServer.ID == id: // it reads no more
		case !told && needs <= wire.FirstLevel: // it may be down for good
		case told:
			return fmt.Sprintf("the member %s runs an older release, which does not know this: upgrade it first", m.Addr)
		default:
			return fmt.Sprintf("the member %s has not told yet which release it runs: start it, or remove it", m.Addr)
		}
	}
	return ""
}

// dropUnread drops what waits and must not be logged yet. It was looked at when it was asked for, but may have waited for a
// leader meanwhile: links have come up, and members have told what they can read. It is called when what waits is proposed,
// not each turn: a thousand may wait.
func (n *Node) dropUnread() {
	c := &n.commands
	if n.state.system.Level >= wire.Level {
		return
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(w command) bool {
		if w.command.System == nil {
			return false
		}
		joiner := wire.Level
		if op, asked := w.caller.(*adminOp); asked {
			joiner = op.who.Level
		}
		lack := n.unread(w.command.System, joiner)
		if lack == "" {
			return false
		}
		c.bytes -= w.size()
		c.gathered.count--
		c.gathered.bytes -= w.size()
		n.answer(w.caller, nil, n.failure(ErrBusy, lack))
		return true
	})
}

// readLevel notes what a command needs that is in the log now, whatever becomes of it.
func (n *Node) readLevel(c *wire.System) {
	n.state.system.Level = max(n.state.system.Level, c.Level())
}

// forgetLevels drops what servers told that are on no list any more. One that was added behind what this server has applied may
// be on the list: who comes into the cluster has links before it has a state.
func (n *Node) forgetLevels() {
	maps.DeleteFunc(n.levels, func(id uint64, _ int) bool {
		_, guest := n.peers.guests[id]
		_, known := n.state.system.lookup(id)
		return !known && !guest && id <= n.state.applied.Index
	})
}

// beyond is the error of a server whose release can't read the cluster's data.
func beyond(level int) error {
	if level <= wire.Level {
		return nil
	}
	return fmt.Errorf("node: the cluster's data needs a release of level %d, and this one is of level %d: start this server with a newer release", level, wire.Level)
}
