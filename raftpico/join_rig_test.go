package raftpico_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

const joinPatience = time.Minute

// brisk are election timeouts for tests.
var brisk = raftpico.Timeouts{Min: 150 * time.Millisecond, Max: 300 * time.Millisecond}

// joining is servers on a network in memory, with files, that join each other.
type joining struct {
	memnet.Network
	t     *testing.T
	dir   string
	addrs []string
}

func newJoining(t *testing.T, n int) *joining {
	w := &joining{t: t, dir: t.TempDir()}
	for i := range n {
		w.addrs = append(w.addrs, fmt.Sprintf("server-%d:4000", i+1))
	}
	return w
}

// member is a server of a world.
type member struct {
	*raftpico.Server
	w   *joining
	log *logged
}

// start starts the i-th server, which joins nobody.
func (w *joining) start(i int) *member { return w.begin(i, nil, 0) }

// join starts the i-th server, which joins the others.
func (w *joining) join(i int, bootstrap bool) *member {
	n := 0
	if bootstrap {
		n = len(w.addrs)
	}
	return w.begin(i, w.addrs, n)
}

func (w *joining) begin(i int, join []string, bootstrap int) *member {
	w.t.Helper()
	m, err := w.tryToBegin(i, join, bootstrap)
	require.NoError(w.t, err)
	return m
}

func (w *joining) tryToBegin(i int, join []string, bootstrap int) (*member, error) {
	addr := w.addrs[i]
	listener, err := w.Listen(addr)
	require.NoError(w.t, err)
	m := &member{w: w, log: new(logged)}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(w.t.Output(), m.log), nil))
	m.Server, err = raftpico.Start(machine.JSON(&counter{}), raftpico.Options{
		Addr: addr, File: filepath.Join(w.dir, addr), Listener: listener, Dial: w.Dialer(addr), Logger: logger,
		Join: join, Bootstrap: bootstrap, Timeouts: brisk, Limits: raftpico.Limits{Deadline: 3 * time.Second}})
	if err == nil {
		w.t.Cleanup(func() { _ = m.stop() })
	}
	return m, err
}

// again starts the i-th server anew, so that it joins the others.
func (m *member) again(i int) *member {
	m.w.t.Helper()
	require.NoError(m.w.t, m.stop())
	return m.w.join(i, true)
}

func (m *member) stop() error { return m.Close() }

// await waits until a server has joined.
func (m *member) await() {
	m.w.t.Helper()
	require.Eventually(m.w.t, func() bool { return m.Status().NodeID != 0 }, joinPatience, 5*time.Millisecond, "%s\n%s", m.Addr(), m.log.String())
}

// says waits until the log has a text.
func (m *member) says(text string) {
	m.w.t.Helper()
	require.Eventually(m.w.t, func() bool { return strings.Contains(m.log.String(), text) }, joinPatience, 5*time.Millisecond, "%s says no %q", m.Addr(), text)
}

// outside checks that a server belongs to no cluster, and does so for a while.
func (m *member) outside() {
	m.w.t.Helper()
	require.Never(m.w.t, func() bool { return m.Status().NodeID != 0 }, 400*time.Millisecond, 10*time.Millisecond, m.Addr())
}

// one checks that all belong to the same cluster, as voters.
func one(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		require.Equal(t, members[0].Status().ClusterID, m.Status().ClusterID, m.Addr())
		require.Eventually(t, func() bool {
			now := m.Status()
			voters := slices.DeleteFunc(slices.Clone(now.Members), func(m raftpico.Member) bool { return m.Role != "Voter" })
			return len(voters) == len(members) && len(now.Members) == len(members)
		}, joinPatience, 5*time.Millisecond, "%s: %v", m.Addr(), m.Status())
	}
	for _, m := range members {
		applies(t, m.Server, 1)
	}
}

// created counts the clusters that were ever created.
func created(members ...*member) (n int) {
	for _, m := range members {
		n += strings.Count(m.log.String(), "cluster created")
	}
	return n
}

// createdOnce checks that one cluster was. What is logged is written by a goroutine of its own.
func createdOnce(t *testing.T, members ...*member) {
	t.Helper()
	waitFor(t, func() bool { return created(members...) > 0 })
	require.Equal(t, 1, created(members...))
}

// forward passes connections on until the listener is closed.
func forward(l net.Listener, dial func(ctx context.Context, network, addr string) (net.Conn, error), to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := dial(context.Background(), "tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			}()
		}
	}
}
