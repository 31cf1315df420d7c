package loop

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/logs"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// links are the connections with the other servers, both ways. Owner: the turn.
type links struct {
	*self
	to    map[uint64]*peer.Link
	peers map[uint64]node.Peer     // whom the links are to
	pongs map[uint64]peer.Pong     // the last ones, by server
	heard map[*jsonrpc.Conn]caller // connections that have proved to be a server's
	moves map[uint64]time.Time     // when one was closed since its server says hello from another address
	said  string                   // why no server was found to be added, as it was logged last
	clocks

	moved atomic.Pointer[[]peer.Name] // the core's Moved, for who pings
}

func newLinks(s *self) *links {
	l := &links{self: s, to: map[uint64]*peer.Link{}, peers: map[uint64]node.Peer{}, pongs: map[uint64]peer.Pong{}, heard: map[*jsonrpc.Conn]caller{}, moves: map[uint64]time.Time{}}
	l.moved.Store(new([]peer.Name))
	return l
}

// SetPeers implements node.Env: it starts and ends links. Ended ones are waited for elsewhere.
func (l *links) SetPeers(peers []node.Peer) {
	if l.node == nil {
		return // the core is being made; Start asks again afterwards
	}
	identity, ok := l.node.Identity()
	if !ok {
		return
	}
	var moved []peer.Name
	for _, p := range l.node.Moved() {
		moved = append(moved, peer.Name{ID: p.ID, Instance: p.Instance, Addr: p.Addr})
	}
	l.moved.Store(&moved)
	wanted := make(map[uint64]bool, len(peers))
	for _, p := range peers {
		wanted[p.ID] = true
		target := peer.Target{Name: peer.Name{ID: p.ID, Instance: p.Instance, Addr: p.Addr}, Elsewhere: []string{p.Place, p.Hint}}
		if link := l.to[p.ID]; link != nil && l.peers[p.ID].Instance == p.Instance {
			if l.peers[p.ID] != p {
				l.peers[p.ID] = p
				link.Retarget(target)
			}
			continue
		} else if link != nil {
			l.end(p.ID, link) // somebody else was a guest under its id
		}
		l.peers[p.ID] = p
		l.to[p.ID] = peer.Start(peer.Options{
			Local: peer.Local{Identity: identity, Instance: l.instance, Addr: l.addr},
			Dial:  l.Dial, Security: l.Security, MaxQueue: l.MaxQueue, Event: l.event, Pong: l.pong, Logger: l.Logger,
		}, target)
	}
	for id, link := range l.to {
		if !wanted[id] {
			l.end(id, link)
		}
	}
	for conn, from := range l.heard {
		if !wanted[from.id] {
			conn.Close() // it says hello again, and is told that it was removed
		}
	}
}

func (l *links) end(id uint64, link *peer.Link) {
	delete(l.to, id)
	delete(l.peers, id)
	delete(l.pongs, id)
	l.clocks.forget(id)
	l.node.PeerDown(id)
	l.beside.Go(link.Close)
}

func (l *links) endAll() {
	for id, link := range l.to {
		l.end(id, link)
	}
}

// flush sends what the links have queued.
func (l *links) flush() {
	for _, link := range l.to {
		link.Flush()
	}
}

// event is called on links' goroutines.
func (l *links) event(link *peer.Link, what peer.Event) {
	l.inbox.post(func() {
		if l.to[link.ID] != link {
			return // it was ended meanwhile
		}
		switch what {
		case peer.Up:
			l.node.PeerUp(link.ID, link.MachineVersion(), link.Level())
		case peer.Down:
			l.node.PeerDown(link.ID)
		case peer.Removed:
			l.node.ToldRemoved()
		case peer.Lost:
			l.node.SnapshotLost(link.ID)
		case peer.Spoiled:
			l.node.SnapshotSpoiled()
		case peer.Delivered:
			l.node.SnapshotDelivered(link.ID)
		}
	})
}

// pong is called on links' goroutines.
func (l *links) pong(link *peer.Link, p peer.Pong) {
	now := time.Now() // the loop may be busy
	l.inbox.post(func() {
		if l.to[link.ID] == link {
			l.pongs[link.ID] = p
			l.clocks.compare(l.Logger, link.ID, l.peers[link.ID].Addr, p.Clock, now)
			identity := l.identity.Load()
			for _, m := range p.Moved {
				l.node.Found(m.Addr, node.Who{ClusterID: identity.ClusterID, NodeID: m.ID, Instance: m.Instance})
			}
			if p.StateHash != nil {
				l.node.PeerHash(link.ID, *p.StateHash)
			}
		}
	})
}

// maxProbe bounds a probe: an address that accepts and says nothing is given up well before the request's deadline.
const maxProbe = 3 * time.Second

// Probe implements node.Env. Its goroutine ends with the dial's deadline or the server.
func (l *links) Probe(token uint64, addr string) {
	l.beside.Go(func() {
		ctx, cancel := context.WithTimeout(l.beside.ctx, min(l.Deadline/2, maxProbe))
		defer cancel()
		who, err := Who(ctx, l.Dial, l.Security, addr)
		l.inbox.post(func() {
			l.unfound(addr, err)
			l.node.Probed(token, who, err)
		})
	})
}

// unfound logs why no server was found to be added, what is not what was logged last: who has asked may not be told all.
func (l *links) unfound(addr string, err error) {
	failure, ok := errors.AsType[*peer.ProbeError](err)
	if !ok {
		return
	}
	why := fmt.Sprintf("%.300s", failure.Err)
	if said := addr + " " + logs.Gist(why); said != l.said {
		l.said = said
		l.Logger.Warn("no server found to add", "addr", addr, "err", why)
	}
}

// Who asks who listens at addr. Ctx bounds it. The error is a *peer.ProbeError.
func Who(ctx context.Context, dial peer.Dial, s jsonrpc.Security, addr string) (node.Who, error) {
	a, err := peer.Probe(ctx, dial, s, addr)
	if err != nil {
		return node.Who{}, err
	}
	return node.Who{Instance: a.Instance, ClusterID: a.ClusterID, NodeID: a.NodeID, Version: a.Version, Level: a.Level}, nil
}
