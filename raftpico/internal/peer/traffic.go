package peer

import (
	"net"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Traffic is what a link has sent since it was started, and what waits. The transfers of snapshots, over connections of their own,
// are not in it.
type Traffic struct {
	Messages uint64 // given to a connection; one that breaks may lose the last of them
	Bytes    uint64 // of these and of pings, as sent
	Queued   int    // bytes, about, that wait
}

// Traffic may be called on any goroutine.
func (l *Link) Traffic() Traffic {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.traffic
	t.Queued = l.queued
	return t
}

// metered counts what is written to a connection by the link's goroutine.
type metered struct {
	net.Conn
	link *Link
}

func (m metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	m.link.traffic.Bytes += uint64(n)
	return n, err
}

// sizeOf is about what a message takes on the wire, in bytes.
func sizeOf(m *wire.Message) int {
	size := 256
	if m.Propose != nil {
		size += len(m.Propose.Encoded)
	}
	for _, e := range m.Raft.GetEntries() {
		size += len(e.GetData())
	}
	return size
}
