package raftpico_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/secure/securetest"
)

// mover is a server that is started at another address each time.
type mover struct {
	*raftpico.Server
	t    *testing.T
	opts raftpico.Options
}

func newMover(t *testing.T, change func(*raftpico.Options)) *mover {
	m := &mover{t: t, opts: raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(t.TempDir(), "log"), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	if change != nil {
		change(&m.opts)
	}
	m.start("127.0.0.1:0")
	return m
}

func (m *mover) start(addr string) {
	m.t.Helper()
	m.opts.Addr = addr
	s, err := raftpico.Start(machine.JSON(&counter{}), m.opts)
	require.NoError(m.t, err)
	m.t.Cleanup(func() { _ = s.Close() })
	m.Server = s
}

// move starts it anew, at another address.
func (m *mover) move() {
	m.t.Helper()
	old := m.Addr()
	require.NoError(m.t, m.Close())
	for m.start("127.0.0.1:0"); m.Addr() == old; m.start("127.0.0.1:0") {
		require.NoError(m.t, m.Close())
	}
}

// movers are n servers that are a cluster.
func movers(t *testing.T, n int, change func(*raftpico.Options)) (all []*mover) {
	for range n {
		all = append(all, newMover(t, change))
	}
	_, err := all[0].CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	for _, m := range all[1:] {
		add(t, all[0].Server, m.Server)
	}
	together(t, all...)
	return all
}

// together waits until servers know each other as voters, each at its address, and all are linked and serve.
func together(t *testing.T, all ...*mover) {
	t.Helper()
	var want []string
	for _, m := range all {
		want = append(want, m.Addr())
	}
	slices.Sort(want)
	for _, m := range all {
		waitFor(t, func() bool {
			now := m.Status()
			var got []string
			for _, o := range now.Members {
				if o.Role == "Voter" && (o.Linked || o.ID == now.NodeID) {
					got = append(got, o.Addr)
				}
			}
			slices.Sort(got)
			return slices.Equal(got, want) && slices.Contains(want, now.Leader) && now.Ready
		})
		waitFor(t, func() bool { _, err := m.Apply(t.Context(), machine.Command, 1); return err == nil })
	}
}

// A cluster of one that moves from one address to another, and grows there. What joins must not learn for ever.
func TestClusterOfOneMovesAndGrows(t *testing.T) {
	t.Parallel()
	all := movers(t, 1, nil)
	all[0].move()
	all = append(all, newMover(t, nil), newMover(t, nil))
	for _, m := range all[1:] {
		add(t, all[0].Server, m.Server)
	}
	together(t, all...)
}

// Each of three moves, the leader too, while the others go on.
func TestOneOfThreeMoves(t *testing.T) {
	t.Parallel()
	all := movers(t, 3, nil)
	for _, m := range all {
		m.move()
		together(t, all...)
	}
}

// Two members change places.
func TestMembersSwapAddresses(t *testing.T) {
	t.Parallel()
	all := movers(t, 3, nil)
	one, two := all[1].Addr(), all[2].Addr()
	require.NoError(t, all[1].Close())
	require.NoError(t, all[2].Close())
	all[1].start(two)
	all[2].start(one)
	together(t, all...)
}

// A member takes the address of one that is down. That one comes back elsewhere.
func TestMemberTakesTheAddressOfOneThatIsDown(t *testing.T) {
	t.Parallel()
	all := movers(t, 3, nil)
	taken := all[2].Addr()
	require.NoError(t, all[2].Close())
	require.NoError(t, all[1].Close())
	all[1].start(taken)
	waitFor(t, func() bool { return all[0].Status().Ready && all[0].Status().Members[1].Addr == taken })
	require.NotEqual(t, taken, all[0].Status().Members[2].Addr)
	all[2].start("127.0.0.1:0")
	together(t, all...)
}

// A server may listen on all addresses, and be known by one.
func TestListenAddr(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ listen, addr string }{{":0", "127.0.0.1:0"}, {"0.0.0.0:0", "localhost:0"}, {"[::]:0", "[::1]:0"}, {"[::1]:0", "[0:0:0:0:0:0:0:1]:0"}} {
		if probe, err := net.Listen("tcp", c.listen); err != nil {
			t.Logf("%s: %v", c.listen, err)
			continue
		} else {
			require.NoError(t, probe.Close())
		}
		all := []*mover{}
		for range 2 {
			m := &mover{t: t, opts: raftpico.Options{ListenAddr: c.listen, File: filepath.Join(t.TempDir(), "log"), Logger: quiet}}
			m.start(c.addr)
			all = append(all, m)
		}
		_, err := all[0].CreateCluster(t.Context(), fast)
		require.NoError(t, err)
		add(t, all[0].Server, all[1].Server)
		together(t, all...)
		require.NoError(t, all[1].Close())
		all[1].opts.ListenAddr = ""
		all[1].start(c.addr)
		together(t, all...)
	}
}

func TestListenAddrThatCannotBe(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, o := range []raftpico.Options{
		{Addr: "127.0.0.1:1", ListenAddr: "nonsense"},
		{Addr: "127.0.0.1:1", ListenAddr: l.Addr().String()},
		{Addr: "0.0.0.0:1", ListenAddr: "127.0.0.1:0"},
		{Addr: "127.0.0.1:1", ListenAddr: "127.0.0.1:0", Listener: l},
	} {
		o.InMemory, o.Logger = true, quiet
		_, err := raftpico.Start(machine.JSON(&counter{}), o)
		require.Error(t, err, "%+v", o)
	}
}

// Two of three move while nobody leads; the third has stayed. The two know of each other through it alone.
func TestMajorityMovesWithoutALeader(t *testing.T) {
	t.Parallel()
	all := movers(t, 3, nil)
	stays := all[0].Addr()
	for _, m := range all {
		require.NoError(t, m.Close())
	}
	all[1].start("127.0.0.1:0")
	all[2].start("127.0.0.1:0")
	waitFor(t, func() bool { return len(all[1].Status().Members) == 3 }) // it knows the old addresses
	all[0].start(stays)
	together(t, all...)
}

// All three move at once. Each is told where the others may be, and a stranger listens at one of these addresses.
func TestAllMoveAtOnce(t *testing.T) {
	t.Parallel()
	all := movers(t, 3, nil)
	stranger := startServer(t, machine.JSON(&counter{}), nil)
	_, err := stranger.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	blank := startServer(t, machine.JSON(&counter{}), nil)
	for _, m := range all {
		require.NoError(t, m.Close())
	}
	var listeners []net.Listener
	join := []string{stranger.Addr(), blank.Addr()}
	for range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners, join = append(listeners, l), append(join, l.Addr().String())
	}
	for i, m := range all {
		m.opts.Listener, m.opts.Join = listeners[i], join
		m.start(listeners[i].Addr().String())
	}
	together(t, all...)
	require.Len(t, stranger.Status().Members, 1)
	require.Zero(t, blank.Status().NodeID)
}

// Two processes with copies of one file are the same member. It is not a thing to be done, and the others say so.
func TestCopiesOfAFileAreNoticed(t *testing.T) {
	t.Parallel()
	log := new(logged)
	all := movers(t, 3, func(o *raftpico.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	require.NoError(t, all[2].Close())
	text, err := os.ReadFile(all[2].opts.File)
	require.NoError(t, err)
	twin := &mover{t: t, opts: all[2].opts}
	twin.opts.File = filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.WriteFile(twin.opts.File, text, 0o600))
	all[2].start(all[2].Addr())
	twin.start("127.0.0.1:0")
	waitFor(t, func() bool { return strings.Contains(log.String(), "copies of its file") })
}

// Servers create their cluster over TLS, and find each other again over TLS when all have moved.
func TestBootstrapAndMovesOverTLS(t *testing.T) {
	t.Parallel()
	ca := securetest.New(t, "ca")
	var listeners []net.Listener
	var all []*mover
	place := func(n int) (join []string) {
		listeners = nil
		for range n {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			listeners, join = append(listeners, l), append(join, l.Addr().String())
		}
		return join
	}
	join := place(3)
	for range join {
		m := &mover{t: t, opts: raftpico.Options{File: filepath.Join(t.TempDir(), "log"), Logger: quiet, Timeouts: fast}}
		overTLS(ca)(&m.opts)
		all = append(all, m)
	}
	for range 2 {
		for i, m := range all {
			m.opts.Join, m.opts.Bootstrap, m.opts.Listener = join, len(join), listeners[i]
			m.start(join[i])
		}
		together(t, all...)
		for _, m := range all {
			require.NoError(t, m.Close())
		}
		join = place(3)
	}
	for _, l := range listeners {
		require.NoError(t, l.Close())
	}
}
