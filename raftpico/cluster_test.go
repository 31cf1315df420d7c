package raftpico_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
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

// counter is the machine of these tests.
type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// startServer starts a server on a free port, with its file in dir, and closes it at the end of the test.
func startServer(t *testing.T, m machine.Machine, change func(*raftpico.Options)) *raftpico.Server {
	t.Helper()
	opts := raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(t.TempDir(), "log.jsonl"), Logger: quiet}
	if change != nil {
		change(&opts)
	}
	s, err := raftpico.Start(m, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Election timeouts. On a busy machine a leader may be lost at any time: with fast ones that happens, and what is asked
// meanwhile must be asked again (settles). Most tests want no election, and are still.
var (
	fast  = raftpico.Timeouts{Min: 200 * time.Millisecond, Max: 400 * time.Millisecond}
	calm  = raftpico.Timeouts{Min: time.Second, Max: 2 * time.Second}
	still = raftpico.Timeouts{Min: 3 * time.Second, Max: 6 * time.Second} // a leader goes on believing in itself, also alone
)

// startCluster starts n servers that are a cluster, each a full member. The first one leads, and stays the leader.
func startCluster(t *testing.T, n int) []*raftpico.Server {
	t.Helper()
	return startStill(t, n, func() machine.Machine { return machine.JSON(&counter{}) })
}

// startStill is startCluster of any machine.
func startStill(t *testing.T, n int, m func() machine.Machine) []*raftpico.Server {
	t.Helper()
	servers := make([]*raftpico.Server, n)
	for i := range servers {
		servers[i] = startServer(t, m(), nil)
	}
	joinAll(t, servers, still)
	return servers
}

// joinAll makes servers a cluster, each a voter. At first the first one leads.
func joinAll(t *testing.T, servers []*raftpico.Server, timeouts raftpico.Timeouts) {
	t.Helper()
	_, err := servers[0].CreateCluster(t.Context(), timeouts)
	require.NoError(t, err)
	for _, s := range servers[1:] {
		add(t, servers[0], s)
	}
	for _, s := range servers { // each: one that knows of fewer voters can't elect without the leader
		waitFor(t, func() bool { return voters(t, s) == len(servers) })
	}
}

// add has a member add a server. It is asked again where leadership changes hands.
func add(t *testing.T, member, s *raftpico.Server) {
	t.Helper()
	waitFor(t, func() bool {
		_, err := member.AddServer(t.Context(), s.Addr())
		return err == nil || errors.Is(err, raftpico.ErrServerExists)
	})
}

// decided is what a call comes to. It is made again where an election refuses it, with the promise that nothing has come of
// it.
func decided(call func() error) (err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		err = call()
		if !errors.Is(err, raftpico.ErrRejected) && !errors.Is(err, raftpico.ErrNoLeader) {
			break
		}
	}
	return err
}

// settles makes such a call, which must succeed.
func settles(t *testing.T, call func() error) {
	t.Helper()
	require.NoError(t, decided(call))
}

// applies carries out a command on a server.
func applies(t *testing.T, s *raftpico.Server, input any) {
	t.Helper()
	settles(t, func() error { _, err := s.Apply(t.Context(), machine.Command, input); return err })
}

func voters(t *testing.T, s *raftpico.Server) (n int) {
	state, err := s.State(t.Context(), false)
	require.NoError(t, err)
	for _, m := range state.Members {
		if m.Role == "Voter" {
			n++
		}
	}
	return n
}

// waitFor waits until a condition holds, for as long as a busy machine may take.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, time.Minute, 5*time.Millisecond)
}

// leaderOf returns the server that leads.
func leaderOf(t *testing.T, servers []*raftpico.Server) (leader *raftpico.Server) {
	t.Helper()
	waitFor(t, func() bool {
		for _, s := range servers {
			if state, err := s.State(t.Context(), false); err == nil && state.Role == "Leader" {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
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

func decodeInt(t *testing.T, b json.RawMessage) (n int) {
	t.Helper()
	require.NoError(t, json.Unmarshal(b, &n))
	return n
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
