package raftpico

import (
	"bufio"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

type mute struct{ Nothing int }

func (*mute) Apply(*machine.Context, json.RawMessage) (any, error) { return nil, nil }

func startMute(t *testing.T) (*Server, net.Conn) { return startAlone(t, machine.JSON(&mute{})) }

// startAlone starts a server that is a cluster of its own, and connects to it.
func startAlone(t *testing.T, m machine.Machine) (*Server, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := Start(m, Options{Addr: l.Addr().String(), Listener: l, InMemory: true, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.CreateCluster(t.Context(), Timeouts{})
	require.NoError(t, err)
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return s, conn
}

// TestWhatComesDuringATurnIsDoneAfterwards: a reader that finds somebody else at a turn leaves what it has brought, little or
// much, to the loop's goroutine.
func TestWhatComesDuringATurnIsDoneAfterwards(t *testing.T) {
	s, conn := startMute(t)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	in := bufio.NewReader(conn)
	waiting := func() int {
		s.inbox.mu.Lock()
		defer s.inbox.mu.Unlock()
		return len(s.inbox.requests)
	}
	for _, size := range []int{1, maxByReader} {
		for range 50 {
			s.loop.turns.mu.Lock()
			_, err := conn.Write([]byte(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":"` + strings.Repeat("x", size) + `"},"id":1}` + "\n"))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return waiting() == 1 }, 10*time.Second, 100*time.Microsecond)
			s.loop.turns.mu.Unlock()
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.JSONEq(t, `{"jsonrpc":"2.0","result":null,"id":1}`, line)
		}
	}
}
