package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// first is trouble for the first request of a method.
func first(method string, t trouble) func(ask) trouble {
	return func(a ask) trouble {
		if a.method == method && a.n == 0 {
			return t
		}
		return trouble{}
	}
}

// TestWhatIsSentAgain is the table of docs/API.md: what follows a first attempt with trouble.
func TestWhatIsSentAgain(t *testing.T) {
	own := &jsonrpc.Error{Code: 1001, Message: "own"}
	for _, c := range []struct {
		name    string
		trouble trouble
		query   int // requests, of a Query
		plain   int // of a Command without a session
		session int // of one in a session
		err     error
		plainly error // where that is another one
	}{
		{"106", trouble{err: client.ErrRejected}, 2, 2, 2, nil, nil},
		{"108", trouble{err: client.ErrNoLeader}, 2, 2, 2, nil, nil},
		{"110", trouble{err: client.ErrBusy}, 2, 2, 2, nil, nil},
		{"102", trouble{err: client.ErrNotMember}, 2, 2, 2, nil, nil},
		{"107, applied", trouble{err: client.ErrUnknown, works: true}, 2, 1, 2, nil, client.ErrUnknown},
		{"107, not applied", trouble{err: client.ErrUnknown}, 2, 1, 2, nil, client.ErrUnknown},
		{"lost, applied", trouble{cut: true, works: true}, 2, 1, 2, nil, client.ErrUnknown},
		{"lost, not applied", trouble{cut: true}, 2, 1, 2, nil, client.ErrUnknown},
		{"103", trouble{err: client.ErrInvalidInput}, 1, 1, 1, client.ErrInvalidInput, nil},
		{"104", trouble{err: client.ErrInvalidOutput}, 1, 1, 1, client.ErrInvalidOutput, nil},
		{"105", trouble{err: client.ErrNoOutput}, 1, 1, 1, client.ErrNoOutput, nil},
		{"1001", trouble{err: own}, 1, 1, 1, own, nil},
		{"-32603", trouble{err: jsonrpc.ErrInternal}, 1, 1, 1, jsonrpc.ErrInternal, nil},
		{"-32600", trouble{err: jsonrpc.ErrInvalidRequest}, 1, 1, 1, jsonrpc.ErrInvalidRequest, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, how := range []struct {
				name     string
				kind     machine.Kind
				options  client.Options
				requests int
				err      error
			}{
				{"query", machine.Query, client.Options{}, c.query, c.err},
				{"local query", machine.LocalQuery, client.Options{}, c.query, c.err},
				{"plain command", machine.Command, client.Options{NoSessions: true}, c.plain, errors.Join(c.err, c.plainly)},
				{"command in a session", machine.Command, client.Options{}, c.session, c.err},
			} {
				f := startFakes(t, 2)
				f.trouble = first("Apply", c.trouble)
				cl := f.dial(how.options, f.addrs...)
				out, err := client.Call[int](within(t, patience), cl, how.kind, 1)
				if how.err == nil {
					require.NoError(t, err, how.name)
					want := 1
					if how.kind != machine.Command {
						want = 0
					}
					require.Equal(t, want, out, how.name)
					require.Equal(t, want, f.value, how.name)
				} else {
					for _, want := range []error{c.err, c.plainly} {
						if want != nil {
							require.ErrorIs(t, err, want, how.name)
						}
					}
				}
				require.Len(t, f.requests("Apply"), how.requests, how.name)
			}
		})
	}
}

// TestNobodyIsAMember: when all servers say so, it is the answer.
func TestNobodyIsAMember(t *testing.T) {
	f := startFakes(t, 3)
	f.members, f.leader = nil, ""
	f.trouble = func(a ask) trouble {
		if a.method == "Apply" || a.method == "OpenSession" {
			return trouble{err: client.ErrNotMember}
		}
		return trouble{}
	}
	c := f.dial(client.Options{}, f.addrs...)
	require.ErrorIs(t, c.Apply(within(t, patience), machine.Query, 1, nil), client.ErrNotMember)
	require.ErrorIs(t, c.Apply(within(t, patience), machine.Command, 1, nil), client.ErrNotMember)
	f.set(func() { f.trouble = nil })
	require.NoError(t, c.Apply(within(t, patience), machine.Command, 1, nil), "as soon as they are")
}

// TestLeaderIsFollowed: a refusal tells who leads, and the client goes there, though it has never heard of that server.
func TestLeaderIsFollowed(t *testing.T) {
	f := startFakes(t, 3)
	f.members, f.leader = f.addrs[:1], ""
	f.trouble = func(a ask) trouble {
		if a.method == "Apply" && a.addr != f.addrs[2] {
			return trouble{err: client.ErrRejected.With(map[string]string{"leader": f.addrs[2]})}
		}
		return trouble{}
	}
	c := f.dial(client.Options{NoSessions: true}, f.addrs[0])
	require.NoError(t, c.Apply(within(t, patience), machine.Command, 1, nil))
	require.NoError(t, c.Apply(within(t, patience), machine.Command, 1, nil))
	require.Equal(t, f.addrs[2], f.requests("Apply")[len(f.requests("Apply"))-1].addr)
}

// TestAllServersAreAsked: of one address, the client learns the others. Commands go to the leader, reads to all.
func TestAllServersAreAsked(t *testing.T) {
	f := startFakes(t, 3)
	f.leader = f.addrs[1]
	c := f.dial(client.Options{}, f.addrs[0])
	ctx := within(t, patience)
	asked := func(kind string) map[string]int {
		n := map[string]int{}
		for _, a := range f.requests("Apply") {
			if a.kind == kind {
				n[a.addr]++
			}
		}
		return n
	}
	for len(asked("Query")) < 3 || len(asked("LocalQuery")) < 3 || asked("Command")[f.leader] == 0 {
		require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
		require.NoError(t, c.Apply(ctx, machine.LocalQuery, 0, nil))
		require.NoError(t, c.Apply(ctx, machine.Command, 0, nil))
	}
	before := asked("Query")
	for range 30 {
		require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
	}
	for addr, n := range asked("Query") {
		require.Equal(t, 10, n-before[addr])
	}
	commands := asked("Command")
	for range 30 {
		require.NoError(t, c.Apply(ctx, machine.Command, 0, nil))
	}
	require.Equal(t, commands[f.leader]+30, asked("Command")[f.leader])
}

// TestServersComeAndGo: the client asks those who are there, whoever that is.
func TestServersComeAndGo(t *testing.T) {
	f := startFakes(t, 1)
	one := f.start("other:1")
	f.members = []string{f.addrs[0], "other:1"}
	c := f.dial(client.Options{}, f.addrs[0])
	ctx := within(t, patience)
	asked := func() bool {
		for _, a := range f.requests("Apply") {
			if a.addr == "other:1" {
				return true
			}
		}
		return false
	}
	for !asked() {
		require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
	}
	require.NoError(t, one.Close())
	for range 100 {
		require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
	}
	f.set(func() { f.asked = nil })
	f.start("other:1")
	for !asked() {
		require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
	}
}

// TestServersThatKnowNoLeaderAreSpared: they answer reads late or never.
func TestServersThatKnowNoLeaderAreSpared(t *testing.T) {
	f := startFakes(t, 3)
	f.cutOff = f.addrs[1]
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	for asked := 0; asked < 3; {
		require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
		who := map[string]bool{}
		for _, a := range f.requests("GetServerState") {
			who[a.addr] = true
		}
		asked = len(who)
	}
	require.Eventually(t, func() bool {
		f.set(func() { f.asked = nil })
		for range 30 {
			require.NoError(t, c.Apply(ctx, machine.Query, 0, nil))
		}
		for _, a := range f.requests("Apply") {
			if a.addr == f.cutOff {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)
}

// TestTimeoutsAreTold: servers know how long the caller waits, as far as they allow it.
func TestTimeoutsAreTold(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{NoSessions: true}, f.addrs...)
	last := func() ask { a := f.requests("Apply"); return a[len(a)-1] }
	require.NoError(t, c.Apply(t.Context(), machine.Query, 0, nil))
	require.Zero(t, last().timeout, "no deadline")
	require.NoError(t, c.Apply(within(t, time.Minute), machine.Query, 0, nil))
	require.InDelta(t, 59_900, last().timeout, 5_000)
	require.Less(t, last().timeout, 60_000)
	require.NoError(t, c.Apply(within(t, time.Hour), machine.Query, 0, nil))
	require.Equal(t, 300_000, last().timeout)

	inSession := f.dial(client.Options{}, f.addrs...)
	n := len(f.requests("Apply"))
	f.set(func() {
		f.trouble = func(a ask) trouble {
			if a.kind == "Command" && a.n < n+2 {
				return trouble{err: client.ErrUnknown}
			}
			return trouble{}
		}
	})
	require.NoError(t, inSession.Apply(within(t, time.Hour), machine.Command, 1, nil))
	for i, want := range []int{10_000, 20_000, 40_000} {
		require.Equal(t, want, f.requests("Apply")[n+i].timeout, "it is sent again")
	}

	f.set(func() { f.limit = 40_000 })
	require.NoError(t, c.Apply(within(t, time.Hour), machine.Query, 0, nil))
	for range 5 {
		require.NoError(t, c.Apply(within(t, time.Hour), machine.Query, 0, nil))
	}
	require.Equal(t, 37_500, last().timeout, "300 s, halved until it is taken")
	n = len(f.requests("Apply"))
	require.NoError(t, c.Apply(within(t, time.Hour), machine.Query, 0, nil))
	require.Len(t, f.requests("Apply"), n+1)

	f.set(func() { f.trouble = func(ask) trouble { return trouble{err: client.ErrInvalidParams} } })
	require.ErrorIs(t, c.Apply(within(t, time.Hour), machine.Query, 0, nil), client.ErrInvalidParams, "it was not the timeout")
	f.set(func() { f.trouble = nil })
	require.NoError(t, c.Apply(within(t, time.Hour), machine.Query, 0, nil))
	require.Equal(t, 37_500, last().timeout)
}

// TestOnlyTheFirstServerIsMadeACluster: a second try elsewhere would make a second cluster.
func TestOnlyTheFirstServerIsMadeACluster(t *testing.T) {
	f := startFakes(t, 2)
	c := f.dial(client.Options{}, f.addrs...)
	f.trouble = first("CreateCluster", trouble{cut: true})
	_, err := c.CreateCluster(within(t, patience), client.Timeouts{Min: time.Second})
	require.ErrorIs(t, err, client.ErrUnknown)
	members, err := c.CreateCluster(within(t, patience), client.Timeouts{})
	require.NoError(t, err)
	require.Equal(t, f.addrs[:1], members)
	require.Len(t, f.requests("CreateCluster"), 2)

	_, err = f.dial(client.Options{}).CreateCluster(within(t, patience), client.Timeouts{})
	require.ErrorIs(t, err, client.ErrInvalidParams)
}

func TestInputs(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, f.addrs...)
	ctx := within(t, patience)
	require.NoError(t, c.Apply(ctx, machine.Command, json.RawMessage("\n 7 "), nil))
	require.Equal(t, "7", string(f.requests("Apply")[0].input))
	for _, bad := range []any{json.RawMessage("{"), json.RawMessage("\"\xff\""), make(chan int), make([]byte, 16<<20)} {
		require.Error(t, c.Apply(ctx, machine.Command, bad, nil))
	}
	require.Len(t, f.requests("Apply"), 1, "the others are never sent")
	var first, second json.RawMessage
	require.NoError(t, c.Apply(ctx, machine.Command, 2, &first))
	require.NoError(t, c.Apply(ctx, machine.Command, 1, &second))
	require.Equal(t, "9", string(first), "it is the caller's")
	require.Equal(t, "10", string(second))
	var wrong []string
	require.ErrorContains(t, c.Apply(ctx, machine.Query, 0, &wrong), "decode the output")
}

func TestCloseEndsCalls(t *testing.T) {
	f := startFakes(t, 1)
	c := f.dial(client.Options{}, f.addrs...)
	require.NoError(t, c.Apply(within(t, patience), machine.Command, 1, nil))
	done := make(chan error)
	go func() { done <- c.Apply(context.Background(), machine.Command, "wait", nil) }()
	require.Eventually(t, func() bool { return len(f.requests("Apply")) == 2 }, patience, time.Millisecond)
	require.NoError(t, c.Close())
	err := <-done
	require.ErrorIs(t, err, client.ErrClosed)
	require.ErrorIs(t, err, client.ErrUnknown)
	require.Len(t, f.ended, 1, "its session")
	err = c.Apply(context.Background(), machine.Command, 1, nil)
	require.ErrorIs(t, err, client.ErrClosed)
	require.ErrorIs(t, err, client.ErrRejected)
	require.NoError(t, c.Close())

	c = f.dial(client.Options{}, "nobody:1")
	go func() { done <- c.Apply(context.Background(), machine.Query, 1, nil) }()
	time.Sleep(time.Millisecond) // either way it must end
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-done, client.ErrClosed)
}
