package raftpico_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// startAlone starts a server that is a cluster of its own, and connects to it.
func startAlone(t *testing.T, m machine.Machine) (*raftpico.Server, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := raftpico.Start(m, raftpico.Options{Addr: l.Addr().String(), Listener: l, InMemory: true, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	conn, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return s, conn
}

// drowsy takes its time for queries.
type drowsy struct{ Nothing int }

func (*drowsy) Apply(ctx *machine.Context, _ json.RawMessage) (any, error) {
	if ctx.Kind != machine.Command {
		time.Sleep(5 * time.Millisecond)
	}
	return nil, nil
}

// TestManySlowLocalQueriesHoldUpNoCommand: a command that comes in one packet with a hundred local queries does not wait for
// them all.
func TestManySlowLocalQueriesHoldUpNoCommand(t *testing.T) {
	t.Parallel()
	const queries = 100
	_, conn := startAlone(t, machine.JSON(&drowsy{}))
	packet := `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"Command","input":1},"id":"command"}` + "\n" +
		strings.Repeat(`{"jsonrpc":"2.0","method":"Apply","params":{"kind":"LocalQuery","input":1},"id":"query"}`+"\n", queries)
	_, err := conn.Write([]byte(packet))
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	at := -1
	for i := range queries + 1 {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		if strings.Contains(line, "command") {
			at = i
		}
	}
	require.GreaterOrEqual(t, at, 0)
	require.Less(t, at, queries/4) // which is less than the reader is given at once
}

// alone fails a call that begins while another is under way.
type alone struct {
	Count int
	busy  sync.Mutex
}

func (m *alone) Apply(ctx *machine.Context, _ json.RawMessage) (any, error) {
	if !m.busy.TryLock() {
		panic("two calls at once")
	}
	defer m.busy.Unlock()
	if ctx.Kind == machine.Command {
		m.Count++
	}
	return m.Count, nil
}

// TestMachineIsCalledOnceAtATime has callers of all kinds at once, in process. Local queries see what they have been told of.
func TestMachineIsCalledOnceAtATime(t *testing.T) {
	t.Parallel()
	s, err := raftpico.Start(machine.JSON(&alone{}), raftpico.Options{Addr: "127.0.0.1:0", File: t.TempDir() + "/log", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	ask := func(kind machine.Kind) (count int, err error) {
		out, err := s.Apply(t.Context(), kind, 1)
		if err == nil {
			err = json.Unmarshal(out, &count)
		}
		return count, err
	}
	var callers sync.WaitGroup
	errs := make(chan error, 16)
	for range cap(errs) {
		callers.Go(func() {
			for range 200 {
				told, err := ask(machine.Command)
				if err == nil {
					var seen int
					if seen, err = ask(machine.LocalQuery); err == nil && seen < told {
						err = fmt.Errorf("a local query sees %d after %d", seen, told)
					}
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	callers.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
}
