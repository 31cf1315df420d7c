package node

import (
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A member may be started at another address than the list has. It tells its address whenever it makes a link, and proves who
// it is with it (package peer). From then on it is dialled there too. The links come first, so that members that have moved can
// elect a leader; the leader then has the list follow, by a MoveServer entry for one member at a time.
//
// Where two members have changed places, or one has taken the address of another that is down, that one is listed at the
// mover's old address (system.move). So no two members share an address, and a cycle of n members comes right by n-1 entries.

// whereabouts is where servers are, beside the list. Nothing of it is durable.
type whereabouts struct {
	proven map[uint64]string // where each member proved to be when it last made a link to us
	found  map[uint64]string // where one was found that says it is the member: nothing is proven, so it is dialled and no more
	moves  map[uint64]moves  // that this server has proposed
	moving bool              // one is under way
	led    time.Duration     // when this server last knew a leader, or was listed where it is
	astray bool              // it has been logged that it knows none
	clash  bool              // a member has proved to be at our own address; it has been logged
}

// moves are the entries for one member.
type moves struct {
	last  time.Duration // when the last one was proposed
	pause time.Duration // until the next one may be
}

// The pace of the entries for one member: each pause is twice as long as the one before, until it has rested. Two processes
// with copies of one file move their member for ever, as long as both find the others.
const (
	firstMovePause = 250 * time.Millisecond
	lastMovePause  = 4 * time.Second
	moveRest       = time.Minute
)

func newWhereabouts() whereabouts {
	return whereabouts{proven: map[uint64]string{}, found: map[uint64]string{}, moves: map[uint64]moves{}}
}

// proved notes where a member is. Whoever was there before is there no more.
func (n *Node) proved(from Peer) {
	w := &n.peers.where
	if w.proven[from.ID] == from.Addr {
		return
	}
	maps.DeleteFunc(w.proven, func(_ uint64, at string) bool { return at == from.Addr })
	w.proven[from.ID] = from.Addr
	delete(w.found, from.ID)
	n.linkPeers()
}

// Found tells that who says at addr that it is that server. A member of this cluster that has no link is dialled there as well: the
// handshake finds out whether it is true.
func (n *Node) Found(addr string, who Who) {
	if n.identity == nil || n.raft.raw == nil || who.ClusterID != n.identity.ClusterID || who.NodeID == n.identity.NodeID ||
		!validID(who.NodeID) || n.peers.up[who.NodeID] {
		return
	}
	m, known := n.state.system.lookup(who.NodeID)
	switch {
	case known && m.Instance == who.Instance && n.peers.where.found[who.NodeID] != addr:
		n.peers.where.found[who.NodeID] = addr
		n.linkPeers()
	case !known && who.NodeID > n.state.applied.Index: // perhaps a member that we have not read of
		if _, guest := n.peers.guests[who.NodeID]; !guest && len(n.peers.guests) < maxGuests {
			n.peers.guests[who.NodeID] = Peer{ID: who.NodeID, Instance: who.Instance, Hint: addr}
			n.linkPeers()
		}
	}
}

// Moved are the servers that have proved to be at another address than the list has, ascending by id.
func (n *Node) Moved() (moved []Peer) {
	for _, p := range n.peers.linked {
		if p.Place != "" && p.Addr != "" {
			moved = append(moved, Peer{ID: p.ID, Addr: p.Place, Instance: p.Instance})
		}
	}
	return moved
}

// peer is a server on one of the lists, as links need it.
func (n *Node) peer(id uint64, m Member) Peer {
	p := Peer{ID: id, Addr: m.Addr, Instance: m.Instance}
	if at := n.peers.where.proven[id]; at != m.Addr {
		p.Place = at
	}
	if at := n.peers.where.found[id]; at != m.Addr && at != p.Place {
		p.Hint = at
	}
	return p
}

// forgetPlaces drops what is known of servers that are on no list any more. A guest that turns out to be a member has proved where it is.
func (n *Node) forgetPlaces() {
	w, s := &n.peers.where, n.state.system
	for _, id := range slices.Sorted(maps.Keys(n.peers.guests)) {
		guest := n.peers.guests[id]
		if id > n.state.applied.Index {
			continue
		}
		delete(n.peers.guests, id)
		m, known := s.lookup(id)
		if _, later := w.proven[id]; known && m.Instance == guest.Instance && !later && guest.Addr != "" {
			w.proven[id] = guest.Addr
		}
	}
	for _, places := range []map[uint64]string{w.proven, w.found} {
		maps.DeleteFunc(places, func(id uint64, _ string) bool { _, known := s.lookup(id); return !known })
	}
	maps.DeleteFunc(w.moves, func(id uint64, _ moves) bool { _, member := s.Members[id]; return !member })
}

// proposeMove has the list follow one member that has moved: this server, or one that is heard and has proved where it is.
func (n *Node) proposeMove() {
	w, s := &n.peers.where, n.state.system
	if w.moving || n.stopping || n.removed || !n.leading() || !n.astray() || n.unread(&wire.System{MoveServer: &wire.MoveServer{}}, wire.Level) != "" {
		return // the links know already
	}
	for _, id := range s.ids() {
		m, at := s.Members[id], w.proven[id]
		if id == n.identity.NodeID {
			at = n.cfg.Addr
		}
		switch {
		case at == "" || at == m.Addr:
		case id != n.identity.NodeID && at == n.cfg.Addr:
			if !w.clash {
				w.clash = true
				n.log.Warn("another member was started with the address of this one: give it its own", "server", id, "addr", at)
			}
		case (id == n.identity.NodeID || n.hears(id)) && n.mayMove(id, at):
			n.runErrand(&w.moving, wire.System{MoveServer: &wire.MoveServer{ID: id, Instance: m.Instance, Addr: at}})
			return
		}
	}
}

// astray tells whether a member is at another address than the list has. Every turn asks, so it allocates nothing.
func (n *Node) astray() bool {
	for id, m := range n.state.system.Members {
		at := n.peers.where.proven[id]
		if id == n.identity.NodeID {
			at = n.cfg.Addr
		}
		if at != "" && at != m.Addr {
			return true
		}
	}
	return false
}

// mayMove keeps the pace.
func (n *Node) mayMove(id uint64, at string) bool {
	moved, before := n.peers.where.moves[id]
	since := n.clock.elapsed - moved.last
	switch {
	case !before || since > moveRest:
		moved.pause = firstMovePause
	case since < moved.pause:
		return false
	default:
		if moved.pause = min(2*moved.pause, lastMovePause); moved.pause == lastMovePause {
			n.log.Warn("a member moves again and again: perhaps two processes run with copies of its file; stop one of them", "server", id, "addr", at)
		}
	}
	moved.last = n.clock.elapsed
	n.peers.where.moves[id] = moved
	return true
}

// leaderPatience is how long a server that has moved looks for the leader before it says so.
const leaderPatience = 10 * time.Second

// warnAstray tells, once each time, that this server has moved and finds no leader. Perhaps the others have moved, too, and nobody
// knows where anybody is. It is called with the library's ticks.
func (n *Node) warnAstray() {
	w := &n.peers.where
	m, member := n.state.system.Members[n.identity.NodeID]
	switch now := n.clock.elapsed; {
	case n.raft.lead != raft.None || !member || m.Addr == n.cfg.Addr:
		w.astray, w.led = false, now
	case now-w.led > leaderPatience && !w.astray:
		w.astray = true
		n.log.Warn("this server has moved, and finds no leader: if a majority has moved, too, start all servers with the new addresses to join "+
			"(Options.Join, -join)", "listed", m.Addr, "started", n.cfg.Addr)
	}
}

// hears tells whether a server has acknowledged something lately to this one as the leader.
func (n *Node) hears(id uint64) bool {
	acked, heard := n.peers.acked[id]
	return heard && n.clock.elapsed-acked <= electionTicks*n.state.system.Tick()
}

// move applies a MoveServer, and tells whether it changes anything. Whoever is listed at the new address gets the old one.
func (s *system) move(c *wire.MoveServer) bool {
	m, member := s.Members[c.ID]
	if !member || m.Instance != c.Instance || m.Addr == c.Addr {
		return false
	}
	if id := s.find(c.Addr); id != 0 {
		other := s.Members[id]
		other.Addr = m.Addr
		s.Members[id] = other
	}
	m.Addr = c.Addr
	s.Members[c.ID] = m
	return true
}
