package raftpico

import (
	"fmt"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// loop owns the core, the machine and the log file, and does one turn at a time with them (turn.go), which waits for nothing
// but the file's sync. It is also the core's environment (node.Env).
type loop struct {
	server  *Server
	turns   turns
	between between
	node    *node.Node
	log     *storage.Log // nil without a file
	links   map[uint64]*peer.Link
	peers   map[uint64]node.Peer     // whom the links are to
	pongs   map[uint64]peer.Pong     // the last ones, by server
	heard   map[*jsonrpc.Conn]uint64 // connections that have proved to be a server's, by its id
	began   time.Time
	dirty   map[*jsonrpc.Conn]struct{} // connections with answers not yet written
	last    *jsonrpc.Conn              // the one answered last, if dirty has it

	receiving *reception   // writes a new file, or nil
	ready     []*reception // whose state is there, for the next Flush
	memory    *memoryFile  // without a file: the last snapshot's state, or nil

	appends slowness  // to the log, with their syncs
	stopBy  time.Time // not zero: the server is stopping, and gives up waiting then
}

// maxDirty bounds how many connections have answers not yet written: each has a buffer meanwhile. Ten thousand of them got 28,000
// answers a second while there were as many, and 41,000 since.
const maxDirty = 64

// flush writes out each connection that has answers.
func (l *loop) flush() {
	for conn := range l.dirty {
		conn.Flush()
	}
	clear(l.dirty)
	l.last = nil
}

// publish makes this server's place in a cluster known to the readers of connections, when it is durable and before
// anybody is told of it.
func (l *loop) publish(records ...*wire.Record) {
	for _, r := range records {
		if r.Identity != nil {
			l.server.identity.Store(new(*r.Identity))
		}
	}
}

// Send implements node.Env.
func (l *loop) Send(m *wire.Message) bool {
	link := l.links[m.To]
	switch {
	case link == nil:
		return false
	case m.Snapshot != nil:
		return l.sendSnapshot(link, m)
	}
	return link.Send(m)
}

// Sent implements node.Env.
func (l *loop) Sent() {
	for _, link := range l.links {
		link.Flush()
	}
	l.flush()
}

// Answer implements node.Env. The callers are those of server.go and accept.go.
func (l *loop) Answer(caller node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	switch c := caller.(type) {
	case *jsonrpc.Call:
		if err != nil {
			c.Fail(err)
		} else {
			c.Result(result)
		}
		if conn := c.Conn(); conn != l.last { // answers come in runs
			if len(l.dirty) >= maxDirty {
				l.flush()
			}
			l.dirty[conn], l.last = struct{}{}, conn
		}
	case waiter:
		c <- outcome{append(json.RawMessage(nil), result...), err} // NB: the result may be part of the machine's state
	default:
		panic(fmt.Sprintf("raftpico: answer to a %T", caller))
	}
}

// Save implements node.Env.
func (l *loop) Save(r *wire.Record) (took time.Duration, err error) {
	if l.log != nil {
		if took, err = l.append(r); err != nil {
			return 0, err
		}
	}
	l.publish(r)
	return took, nil
}

// append waits for the disk, and lets local queries be carried out meanwhile.
func (l *loop) append(r *wire.Record) (took time.Duration, err error) {
	l.between.mu.Unlock()
	defer l.between.lock()
	began := time.Now()
	err = l.log.Append(r)
	now := time.Now()
	l.appends.note(began, now)
	return now.Sub(began), err
}

// Replace implements node.Env.
func (l *loop) Replace(records ...*wire.Record) error {
	if l.log != nil {
		if err := l.log.Replace(records...); err != nil {
			return err
		}
	}
	for _, r := range records {
		if snap := r.Snapshot; snap != nil && l.log == nil {
			l.memory = &memoryFile{at: snap.LastIncluded}
			l.memory.Buffer.Write(snap.Machines.User)
		}
	}
	l.publish(records...)
	return nil
}

// LogState implements node.Stater.
func (l *loop) LogState() node.LogState {
	if l.log == nil {
		return node.LogState{}
	}
	return node.LogState{Bytes: l.log.Size(), SnapshotBytes: l.log.SnapshotSize(), Syncs: l.log.Syncs(), SlowestAppend: l.appends.slowest().Microseconds()}
}

// LoopState implements node.Stater.
func (l *loop) LoopState() node.LoopState {
	return node.LoopState{SlowestTurn: l.turns.took.slowest().Microseconds()}
}

// MemberLog implements node.Stater.
func (l *loop) MemberLog(id uint64) (bytes, snapshotBytes int64, known bool) {
	pong, known := l.pongs[id]
	return pong.LogBytes, pong.SnapshotBytes, known
}

// tellSizes makes the sizes of the log file known to other servers.
func (l *loop) tellSizes() {
	if l.log != nil {
		l.server.logBytes.Store(l.log.Size())
		l.server.snapshotBytes.Store(l.log.SnapshotSize())
	}
}

// SetPeers implements node.Env: it starts and ends links. Ended ones are waited for elsewhere.
func (l *loop) SetPeers(peers []node.Peer) {
	if l.node == nil {
		return // the core is being made; start asks again afterwards
	}
	identity, ok := l.node.Identity()
	if !ok {
		return
	}
	s := l.server
	wanted := make(map[uint64]bool, len(peers))
	for _, p := range peers {
		wanted[p.ID] = true
		if link := l.links[p.ID]; link != nil {
			if l.peers[p.ID] == p {
				continue
			}
			l.endLink(p.ID, link) // it was a guest, and is a member at another address
		}
		l.peers[p.ID] = p
		l.links[p.ID] = peer.Start(peer.Options{
			Local: peer.Local{Identity: identity, Instance: s.instance, Addr: s.opts.Addr},
			Dial:  s.opts.Dial, MaxQueue: s.opts.Limits.MaxQueue, Event: l.linkEvent, Pong: l.pong, Logger: s.opts.Logger,
		}, peer.Name{ID: p.ID, Instance: p.Instance, Addr: p.Addr})
	}
	for id, link := range l.links {
		if !wanted[id] {
			l.endLink(id, link)
		}
	}
	for conn, id := range l.heard {
		if !wanted[id] {
			conn.Close() // it says hello again, and is told that it was removed
		}
	}
}

func (l *loop) endLink(id uint64, link *peer.Link) {
	delete(l.links, id)
	delete(l.peers, id)
	delete(l.pongs, id)
	l.node.PeerDown(id)
	l.server.helpers.Go(link.Close)
}

// linkEvent is called on links' goroutines.
func (l *loop) linkEvent(link *peer.Link, what peer.Event) {
	l.server.inbox.post(func() {
		if l.links[link.ID] != link {
			return // it was ended meanwhile
		}
		switch what {
		case peer.Up:
			l.node.PeerUp(link.ID)
		case peer.Down:
			l.node.PeerDown(link.ID)
		case peer.Removed:
			l.node.ToldRemoved(link.ID)
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
func (l *loop) pong(link *peer.Link, p peer.Pong) {
	l.server.inbox.post(func() {
		if l.links[link.ID] == link {
			l.pongs[link.ID] = p
		}
	})
}

// Probe implements node.Env. Its goroutine ends with the dial's deadline or the server.
func (l *loop) Probe(token uint64, addr string) {
	s := l.server
	s.helpers.Go(func() {
		ctx, cancel := s.probing()
		defer cancel()
		a, err := peer.Probe(ctx, s.opts.Dial, addr)
		var who node.Who
		if err == nil {
			who = node.Who{Instance: a.Instance, ClusterID: a.ClusterID, NodeID: a.NodeID}
		}
		s.inbox.post(func() { l.node.Probed(token, who, err) })
	})
}
