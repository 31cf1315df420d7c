package loop_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/front"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
)

type mute struct{ Nothing int }

func (*mute) Apply(*machine.Context, json.RawMessage) (any, error) { return nil, nil }

// start starts a loop with its front, which is a cluster of its own, and connects to it.
func start(t *testing.T, configure func(*loop.Config)) (*loop.Loop, net.Conn) {
	l, dial := startAlone(t, configure)
	_, err := l.Call(t.Context(), node.Request{Op: node.CreateCluster, Timeouts: node.DefaultTimeouts})
	require.NoError(t, err)
	return l, dial()
}

// startAlone starts a loop with its front, which is in no cluster.
func startAlone(t *testing.T, configure func(*loop.Config)) (l *loop.Loop, dial func() net.Conn) {
	quiet := slog.New(slog.DiscardHandler)
	c := loop.Config{Machine: machine.JSON(&mute{}), FS: storage.OS, Dial: new(net.Dialer).DialContext, Logger: quiet,
		Deadline: 10 * time.Second, MaxPending: 1000, MaxUncommitted: 1 << 20, CompactAfter: 1 << 20, MaxQueue: 1 << 20}
	if configure != nil {
		configure(&c)
	}
	l, err := loop.Open(c)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Begin(listener.Addr().String()))
	f := front.New(l, jsonrpc.Limits{}, time.Minute, front.Guard{}, quiet)
	ended, served := make(chan error), make(chan error)
	go func() { ended <- l.Run() }()
	go func() { served <- f.Serve(listener) }()
	t.Cleanup(func() {
		l.Drain(time.Second)
		require.NoError(t, <-ended)
		require.NoError(t, f.Shutdown())
		require.NoError(t, <-served)
		require.NoError(t, l.Close())
	})
	return l, func() net.Conn {
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// TestEveryRingIsHeard: of callers in process and on connections, each asks for one thing at a time, and all wait for the last one's
// answer. A server in no cluster makes no ticks, so a request that nobody does a turn for would wait for ever.
func TestEveryRingIsHeard(t *testing.T) {
	const rounds, callers = 2000, 3
	l, dial := startAlone(t, nil)
	asks := []func() error{}
	for range callers {
		conn := dial()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		in := bufio.NewReader(conn)
		line := []byte(`{"jsonrpc":"2.0","method":"GetServerState","params":{"machines":false},"id":1}` + "\n")
		asks = append(asks, func() error {
			_, err := conn.Write(line)
			if err == nil {
				_, err = in.ReadSlice('\n')
			}
			return err
		}, func() error {
			_, err := l.Call(context.Background(), node.Request{Op: node.GetServerState})
			return err
		})
	}
	answered := make(chan error, len(asks))
	for round := range rounds {
		for _, ask := range asks[round%len(asks):] {
			go func() { answered <- ask() }()
		}
		for range len(asks) - round%len(asks) {
			select {
			case err := <-answered:
				require.NoError(t, err)
			case <-time.After(20 * time.Second):
				require.FailNow(t, "nobody has done a turn", "round %d", round)
			}
		}
	}
}

// TestWhatComesDuringATurnIsDoneAfterwards: a reader that finds somebody else at a turn leaves what it has brought, little or
// much, to the loop's goroutine.
func TestWhatComesDuringATurnIsDoneAfterwards(t *testing.T) {
	l, conn := start(t, nil)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	in := bufio.NewReader(conn)
	for _, size := range []int{1, loop.MaxByReader} {
		for range 50 {
			release := l.HoldTurn()
			_, err := conn.Write([]byte(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":"` + strings.Repeat("x", size) + `"},"id":1}` + "\n"))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return l.Waiting() == 1 }, time.Minute, 100*time.Microsecond)
			release()
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.JSONEq(t, `{"jsonrpc":"2.0","result":null,"id":1}`, line)
		}
	}
}

// TestLocalQueriesNeedNoTurn: while a turn waits for the disk, local queries are answered, over the network and in process,
// and nothing else is. While it is at work, they wait for it.
func TestLocalQueriesNeedNoTurn(t *testing.T) {
	l, conn := start(t, nil)
	in := bufio.NewReader(conn)
	send := func(kind machine.Kind, id string) {
		_, err := conn.Write([]byte(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"` + kind.String() + `","input":1},"id":` + id + "}\n"))
		require.NoError(t, err)
	}
	receive := func(id string) {
		t.Helper()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		require.JSONEq(t, `{"jsonrpc":"2.0","result":null,"id":`+id+`}`, line)
	}
	local := func() (json.RawMessage, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return l.Call(ctx, node.Request{Op: node.Apply, Kind: machine.LocalQuery, Input: json.RawMessage("1")})
	}

	release := l.HoldTurn() // as a turn does that waits for the disk
	send(machine.Query, "1")
	send(machine.LocalQuery, "2")
	receive("2")
	_, err := local()
	require.NoError(t, err)
	release()
	receive("1")

	release = l.HoldTurn()
	lend := l.HoldMachine()
	send(machine.LocalQuery, "3")
	asked := make(chan error, 1)
	go func() { _, err := local(); asked <- err }()
	require.Eventually(t, func() bool { return l.Waiting() == 2 }, time.Minute, time.Millisecond)
	lend()
	release()
	receive("3")
	require.NoError(t, <-asked)
}
