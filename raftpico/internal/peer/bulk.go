package peer

import (
	"context"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A snapshot travels over a connection of its own, so that heartbeats need not wait behind it. It may arrive behind
// messages that were sent after it; Raft does not mind. One at a time; what breaks off is begun anew by Raft.

// sendSnapshot starts the transfer of a MsgSnap, on a goroutine that ends with it or with the link. False means that it
// was not taken. The caller holds mu.
func (l *Link) sendSnapshot(m *wire.Message) bool {
	if l.busy || l.ctx.Err() != nil {
		return false
	}
	l.busy = true
	l.bulk.Go(func() {
		err := l.transfer(m)
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
		if err != nil && l.ctx.Err() == nil {
			l.opts.Logger.Info("snapshot not sent", "server", l.ID, "index", m.Snapshot.LastIncluded.Index, "err", err)
			l.opts.Event(l, Lost)
		}
	})
	return true
}

func (l *Link) transfer(m *wire.Message) error {
	x, err := l.open(l.ctx)
	if err != nil {
		return err
	}
	defer x.conn.Close() // what was written still arrives
	defer context.AfterFunc(l.ctx, func() { x.conn.Close() })()
	line, err := appendLine(nil, m)
	if err != nil {
		return err
	}
	return writeAll(x.conn, line)
}
