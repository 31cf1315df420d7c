package peer

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// sips is a connection whose reader takes a little at a time, so that the kernel soon takes no more.
type sips struct {
	net.Conn
	rng *rand.Rand
}

func (s *sips) Read(b []byte) (int, error) {
	if s.rng.IntN(200) == 0 {
		time.Sleep(time.Millisecond)
	}
	return s.Conn.Read(b[:1+s.rng.IntN(min(len(b), 8000))])
}

// On a socket, a little is written by Flush itself, and what the kernel does not take by the goroutine: whoever writes, the
// messages come in order, each once and whole.
func TestMessagesStayInOrderWhoeverWritesThem(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &acceptor{instance: "i5", clusterID: "c1", nodeID: 5, key: "secret"}
	served := make(chan struct{})
	go func() { // ends with the one connection it accepts
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		a.serve(&sips{conn, rand.New(rand.NewPCG(1, 1))})
	}()
	events := make(chan Event, 10)
	l := Start(Options{Pong: func(_ *Link, p Pong) { a.pong(p) }, Local: local, MaxQueue: 1 << 30, Event: func(_ *Link, what Event) { events <- what },
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
			if err == nil {
				err = conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
			}
			return conn, err
		}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, Target{Name: other})
	require.Equal(t, Up, <-events)

	rng := rand.New(rand.NewPCG(2, 2))
	var sent []string
	for i := range 3000 {
		m := vote(1)
		m.Raft.Term = new(uint64(i + 1))
		if rng.IntN(10) == 0 {
			m.Raft, m.Propose = nil, &wire.Propose{Term: uint64(i), Boot: "b", Encoded: []byte(`[{"Apply":"` + strings.Repeat("x", rng.IntN(40_000)) + `"}]`)}
		}
		line, err := wire.AppendMessage(nil, m)
		require.NoError(t, err)
		sent = append(sent, string(line))
		require.True(t, l.Send(m))
		if rng.IntN(3) > 0 {
			l.Flush()
		}
		if rng.IntN(100) == 0 {
			time.Sleep(time.Millisecond) // for the goroutine to become idle
		}
	}
	l.Flush()
	count := func() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.messages) }
	require.Eventually(t, func() bool { return count() == len(sent) }, time.Minute, time.Millisecond)
	l.Close()
	<-served
	require.NoError(t, listener.Close())
	for i := range sent {
		require.Equal(t, sent[i], a.messages[i], "message %d", i)
	}
}
