package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// TestSystemCommandsAreAppliedAsTheyAreLogged: an address that JSON can't hold as it is must not make member lists differ.
// (Servers refuse it before: this is the core alone.)
func TestSystemCommandsAreAppliedAsTheyAreLogged(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	w := newWorld(t).play("cluster a b")
	a, b := w.server("a"), w.server("b")
	a.held = true // the world's own answer to the probe
	a.node.Request(nobody, &node.Request{Op: node.AddServer, Addr: "d\xff:1"})
	for token := range uint64(10) {
		a.node.Probed(token, node.Who{Instance: "instanced"}, nil)
	}
	a.flush()
	list := func(s *server) (addrs []string) {
		for _, m := range s.node.State().Members {
			addrs = append(addrs, m.Addr)
		}
		return addrs
	}
	for range 20 { // the address leads nowhere, so messages are moved by hand
		flight := w.flight
		w.flight = nil
		for _, m := range flight {
			to := map[uint64]*server{a.id(): a, b.id(): b}[m.To]
			line, err := wire.AppendMessage(nil, m)
			require.NoError(t, err)
			m, err = wire.DecodeMessage(line)
			require.NoError(t, err)
			if m.Snapshot == nil {
				require.NoError(t, to.node.Message(m.From, m))
			}
		}
		a.flush()
		b.flush()
		w.now += 100 * time.Millisecond
	}
	require.Len(t, list(a), 3)
	require.Equal(t, list(b), list(a))
}

// TestSnapshotThatFailsIsTriedAgainSoon: what the log has grown by counts on, so the next try needs no second threshold of it. One
// that gives way to a snapshot from the leader is no failure: its callers wait for the next one.
func TestSnapshotThatFailsIsTriedAgainSoon(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	e := startCores(t, 1, func(c *node.Config) { c.CompactAfter = 100_000 })[0]
	e.holds = true
	now := time.Hour
	turn := func(d time.Duration) {
		now += d
		e.n.SetTime(now, time.UnixMilli(1_700_000_000_000))
		e.n.Tick()
		require.NoError(t, e.n.Flush())
	}
	put := func() {
		e.n.Request(1, &node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(fmt.Sprintf("%q", strings.Repeat("x", 10_000)))})
		turn(time.Millisecond)
	}
	for range 12 {
		put()
	}
	first := e.job
	require.NotNil(t, first)
	e.job = nil
	e.n.SnapshotDone(first, errors.New("the disk is full"))
	turn(2 * time.Second)
	put()
	require.NotNil(t, e.job, "again, as the log is as long as it was")

	second, answered := e.job, e.answered
	e.n.Request(2, &node.Request{Op: node.TakeSnapshot})
	turn(time.Millisecond)
	e.job = nil
	e.n.SnapshotDone(second, fmt.Errorf("the file: %w", node.ErrSuperseded))
	turn(time.Millisecond)
	require.Equal(t, answered, e.answered, "nobody is told of a failure")
	turn(2 * time.Second)
	require.NotNil(t, e.job, "another one")
}
