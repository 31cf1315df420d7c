package raftpico_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Tests wait most of the time, so more run at once than there are processors. Under the race detector they wait less.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(atOnce); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func TestInProcessCallsTakeTheWayOfTheWire(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	out, err := servers[1].Apply(t.Context(), machine.Command, 5)
	require.NoError(t, err)
	require.Equal(t, "5", string(out))
	for _, s := range servers {
		out, err := s.Apply(t.Context(), machine.Query, json.RawMessage(" 0 "))
		require.NoError(t, err)
		require.Equal(t, "5", string(out))
	}
	out, err = servers[1].Apply(t.Context(), machine.LocalQuery, 0)
	require.NoError(t, err)
	require.Equal(t, "5", string(out), "a local query is not older than what the server has answered before")

	_, err = servers[2].Apply(t.Context(), machine.Command, "five")
	require.ErrorIs(t, err, raftpico.ErrInvalidInput)
	_, err = servers[2].CreateCluster(t.Context(), raftpico.Timeouts{})
	require.ErrorIs(t, err, raftpico.ErrClusterExists)
	_, err = servers[2].AddServer(t.Context(), servers[0].Addr())
	require.ErrorIs(t, err, raftpico.ErrServerExists)
	_, err = servers[2].AddServer(t.Context(), "0.0.0.0:1")
	require.ErrorIs(t, err, jsonrpc.ErrInvalidParams)
	_, err = servers[2].Apply(t.Context(), machine.Kind(9), 1)
	require.ErrorIs(t, err, jsonrpc.ErrInvalidParams)

	// The same errors over TCP.
	client, err := jsonrpc.Dial(t.Context(), servers[2].Addr())
	require.NoError(t, err)
	defer client.Close()
	require.ErrorIs(t, client.Call(t.Context(), "CreateCluster", nil, nil), raftpico.ErrClusterExists)
}

func TestContextThatEndsLeavesTheResultUnknown(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	require.NoError(t, servers[1].Close())
	require.NoError(t, servers[2].Close())
	var ended context.Context
	waitFor(t, func() bool { // where the machine is late, the context ends before the command is taken
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := servers[0].Apply(ctx, machine.Command, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-ctx.Done()
		ended = ctx
		return errors.Is(err, raftpico.ErrUnknown)
	})
	_, err := servers[0].Apply(ended, machine.Command, 1)
	require.ErrorIs(t, err, raftpico.ErrRejected, "nothing was sent")
}

func TestClosedServerRefusesCalls(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&counter{}), nil)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.NoError(t, s.Wait())
	_, err := s.Apply(t.Context(), machine.Command, 1)
	require.ErrorIs(t, err, raftpico.ErrRejected)
}

func TestRollingRestartLosesNoWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers := make([]*raftpico.Server, 3)
	addrs := make([]string, 3)
	start := func(i int) {
		addr := addrs[i]
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		waitFor(t, func() bool { // the port may still be on its way back
			var err error
			servers[i], err = raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: addr, File: filepath.Join(dir, string(rune('a'+i))), Logger: quiet})
			return err == nil
		})
		addrs[i] = servers[i].Addr()
	}
	for i := range servers {
		start(i)
		defer func() { _ = servers[i].Close() }()
	}
	joinAll(t, servers, calm)
	want := 0
	for i := range servers {
		other := servers[(i+1)%3]
		restarted := make(chan struct{})
		go func() { // ends when the server is back
			defer close(restarted)
			_ = servers[i].Close()
			start(i)
		}()
		for up := false; !up; {
			select {
			case <-restarted:
				up = true
			default:
			}
			_, err := other.Apply(t.Context(), machine.Command, 1)
			if errors.Is(err, raftpico.ErrRejected) {
				continue // on its way to a leader that handed over: certainly not applied
			}
			require.NoError(t, err, "a write during the restart of server %d", i)
			want++
		}
	}
	for _, s := range servers {
		settles(t, func() error {
			out, err := s.Apply(t.Context(), machine.Query, 0)
			if err == nil && string(out) != fmt.Sprint(want) {
				return fmt.Errorf("%s, not %d", out, want)
			}
			return err
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	file := filepath.Join(t.TempDir(), "log")
	for name, opts := range map[string]raftpico.Options{
		"neither file nor in memory": {Addr: "127.0.0.1:0"},
		"both":                       {Addr: "127.0.0.1:0", File: file, InMemory: true},
		"no address":                 {InMemory: true},
		"a wildcard":                 {Addr: "0.0.0.0:4000", InMemory: true},
		"no host":                    {Addr: ":4000", InMemory: true},
		"no port":                    {Addr: "localhost", InMemory: true},
		"a port in use":              {Addr: listener.Addr().String(), InMemory: true},
		"a negative limit":           {Addr: "127.0.0.1:0", InMemory: true, Limits: raftpico.Limits{MaxLine: -1}},
		"a file that can't be":       {Addr: "127.0.0.1:0", File: "/dev/null/log"},
	} {
		_, err := raftpico.Start(machine.JSON(&counter{}), opts)
		require.Error(t, err, name)
		t.Log(name+":", err)
	}
}

func TestFileIsLockedAgainstASecondServer(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	s := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File = file })
	_, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", File: file, Logger: quiet})
	require.Error(t, err)
	t.Log(err)
	require.NoError(t, s.Close())
	startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { o.File = file })
}

// bomb panics when it is told to.
type bomb struct{}

func (*bomb) Apply(ctx *machine.Context, in string) (any, error) {
	if in == "now" {
		panic("boom")
	}
	return in, nil
}

func TestPanicInACommandEndsTheServerAndNamesThePlace(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&bomb{}), nil)
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	_, err = s.Apply(t.Context(), machine.Query, "now")
	require.ErrorIs(t, err, jsonrpc.ErrInternal, "a panic in a query is answered")
	_, err = s.Apply(t.Context(), machine.Query, "later")
	require.NoError(t, err, "and the server goes on")
	_, err = s.Apply(t.Context(), machine.Command, "now")
	require.ErrorIs(t, err, raftpico.ErrUnknown)
	err = s.Wait()
	require.ErrorContains(t, err, "index 3, offset 0")
	require.ErrorContains(t, err, `"now"`)
	require.ErrorContains(t, err, "boom")
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { // ends with Run
		ended <- raftpico.Run(ctx, machine.JSON(&counter{}), raftpico.Options{Addr: listener.Addr().String(), Listener: listener, InMemory: true, Logger: quiet})
	}()
	client, err := jsonrpc.Dial(t.Context(), listener.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	var members struct{ Members []string }
	require.NoError(t, client.Call(t.Context(), "CreateCluster", nil, &members))
	require.Equal(t, []string{listener.Addr().String()}, members.Members)
	cancel()
	require.NoError(t, <-ended)
}

func TestTransferLeaderReturnsWhenTheOtherLeads(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	state, err := servers[0].State(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, "Leader", state.Role)
	to := state.Members[2]
	require.ErrorIs(t, servers[1].TransferLeader(t.Context(), to.ID), raftpico.ErrRejected, "it does not lead")
	require.ErrorIs(t, servers[0].TransferLeader(t.Context(), 999), raftpico.ErrInvalidParams)
	require.NoError(t, servers[0].TransferLeader(t.Context(), 1), "it leads already")
	require.NoError(t, servers[0].TransferLeader(t.Context(), to.ID))
	state, err = servers[0].State(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, to.Addr, state.Leader)
	_, err = servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
}

// TestRemovedServerLearnsOfIt: also one that nobody has anything to tell any more.
func TestRemovedServerLearnsOfIt(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, 3)
	gone := servers[2]
	members, err := servers[1].RemoveServer(t.Context(), gone.Addr())
	require.NoError(t, err)
	require.Len(t, members, 2)
	waitFor(t, func() bool {
		_, err := gone.Apply(t.Context(), machine.Command, 1)
		return errors.Is(err, raftpico.ErrNotMember)
	})
	_, err = gone.CreateCluster(t.Context(), fast)
	require.ErrorIs(t, err, raftpico.ErrNotMember)
	_, err = servers[0].AddServer(t.Context(), gone.Addr())
	require.ErrorIs(t, err, raftpico.ErrUnreachable, "its file must be deleted first")
	_, err = servers[0].RemoveServer(t.Context(), gone.Addr())
	require.ErrorIs(t, err, raftpico.ErrNotMember)
	_, err = servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
}
