package loop

import (
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// What readers of connections from other servers ask of the loop. They wait for it, or leave things in the inbox; it never
// waits for them.

// Join takes a place in a cluster, and returns when that is durable.
func (l *Loop) Join(j *peer.Join) error {
	return l.ask(func() error {
		if err := l.node.Join(j.Identity, j.Instance); err != nil {
			return node.ErrNotMember.Because(err.Error())
		}
		return nil
	})
}

// Bootstrap answers a server that looks for a cluster, or would create one with this server.
func (l *Loop) Bootstrap(q *join.Question) (a *join.Answer, err error) {
	err = l.ask(func() error {
		a = new(l.node.Bootstrap(q))
		return nil
	})
	return a, err
}

// Found tells that who says at addr that it is that server.
func (l *Loop) Found(addr string, who node.Who) {
	l.inbox.post(func() { l.node.Found(addr, who) })
}

// Hello takes a connection for the one of a server that has proved to know the cluster's key, if that is a member.
func (l *Loop) Hello(conn *jsonrpc.Conn, h *peer.Hello) error {
	return l.ask(func() error {
		from := node.Peer{ID: h.From.ID, Addr: h.From.Addr, Instance: h.From.Instance}
		switch l.node.Hello(h.ClusterID, from, node.Peer{ID: h.To.ID, Instance: h.To.Instance}) {
		case node.Welcome:
			l.env.hears(conn, caller{h.From.ID, h.From.Addr})
			return nil
		case node.Removed:
			return peer.ErrRemoved
		default:
			return node.ErrNotMember.Because("no such member is known here")
		}
	})
}

// caller is a server that has made a connection to this one.
type caller struct {
	id   uint64
	addr string
}

// copyPeriod is how soon a connection that was closed is made again, if a living process has made it.
const copyPeriod = 10 * time.Second

// hears takes a connection for a server's. If it had one from another address, that is closed: the server has been started anew
// there, and the old end is not noticed yet. Should somebody make it again, two processes are the same server.
func (l *links) hears(conn *jsonrpc.Conn, from caller) {
	for other, before := range l.heard {
		if before.id != from.id || before.addr == from.addr {
			continue
		}
		if time.Since(l.moves[from.id]) < copyPeriod {
			l.Logger.Warn("a server calls from two addresses: perhaps two processes run with copies of its file; stop one of them",
				"server", from.id, "addr", from.addr, "other", before.addr)
			continue
		}
		l.moves[from.id] = time.Now()
		other.Close()
	}
	l.heard[conn] = from
}

// Forget is Hello undone, when the connection is gone.
func (l *Loop) Forget(conn *jsonrpc.Conn) {
	l.inbox.post(func() { delete(l.env.heard, conn) })
}

// Deliver hands over what a reader has brought, in order: messages of a proven member, and requests. The caller then sees to a
// turn, by OfferTurn or Ring. False means that the loop has ended.
func (l *Loop) Deliver(conn *jsonrpc.Conn, from uint64, messages []*wire.Message, requests []Request) bool {
	return l.inbox.put(l.delivery(conn, from, messages), requests...)
}

// delivery gives messages to the core, if there are any.
func (l *Loop) delivery(conn *jsonrpc.Conn, from uint64, messages []*wire.Message) func() {
	if len(messages) == 0 {
		return nil
	}
	return func() {
		for _, m := range messages {
			if err := l.node.Message(from, m); err != nil {
				l.Logger.Info("connection closed", "server", from, "err", err)
				conn.Close() // it says hello again, and is told
				return
			}
		}
	}
}

// Receive begins to take in a snapshot from a member, if the core wants it.
func (l *Loop) Receive(from uint64, m *wire.Message, bytes int64) (*Reception, error) {
	return l.env.receive(from, m, bytes)
}

// Pong is what a member is told that pings.
func (l *Loop) Pong() peer.Pong {
	return peer.Pong{LogBytes: l.env.logBytes.Load(), SnapshotBytes: l.env.snapshotBytes.Load(), Clock: time.Now().UnixMilli(), StateHash: l.env.stateHash.Load(), Moved: *l.env.moved.Load()}
}

// Identity is this server's place in a cluster, as far as it is durable; nil: none. It must not be changed.
func (l *Loop) Identity() *wire.Identity { return l.identity.Load() }

// Instance is what the log file was created as.
func (l *Loop) Instance() string { return l.instance }

// MachineVersion is that of this server's machine.
func (l *Loop) MachineVersion() int { return l.version }
