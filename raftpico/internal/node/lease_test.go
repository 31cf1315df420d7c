package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

func init() {
	// leases: who has one
	commands["leases"] = func(w *world, _ *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node != nil && s.node.State().Leased {
				fmt.Fprintf(&w.out, "%s has a lease\n", s.name)
			}
		}
	}
	// between SERVER: queries between two turns, as their callers carry them out
	commands["between"] = func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		now, _ := s.Uptime()
		out, err, ok := s.node.LeasedQuery([]byte(`"x"`), now)
		fmt.Fprintf(&w.out, "%t %s %v\n", ok, out, err)
	}
	// suspend SERVER TIME: it does nothing, and for what counts time without that, nothing has passed
	commands["suspend"] = func(w *world, d *datadriven.TestData) {
		span, err := time.ParseDuration(d.CmdArgs[1].Key)
		require.NoError(w.t, err)
		w.server(d.CmdArgs[0].Key).ahead += span
	}
}

// leasing is cluster, with leases on. The leader's last stamp is the time of now.
func leasing(t *testing.T) *world {
	w := cluster(t)
	a := w.server("a")
	a.node.Request(nobody, &node.Request{Op: node.Configure, Leases: node.Yes})
	a.flush()
	w.pass(60*time.Millisecond, func(*server) bool { return true })
	require.True(t, a.node.State().Leased)
	return w
}

// stamp is that of what a leader sends now.
func (w *world) stamp() int64 { return int64(uptime + w.now) }

// What a lease lasts for is what a majority of the voters has echoed, in the leader's term, of what it has sent. Ids: a is 1,
// b is 3, c is 5, and 7 is nobody; the term is 2.
func TestEchoesThatDoNotCount(t *testing.T) {
	now := func(w *world) int64 { return w.stamp() }
	for name, echo := range map[string]struct {
		from  uint64
		term  int
		stamp func(w *world) int64
		held  bool
	}{
		"it counts":               {3, 2, now, true},
		"older than another":      {3, 2, func(w *world) int64 { return w.stamp() - int64(300*time.Millisecond) }, false},
		"of an older term":        {3, 1, now, false},
		"of what was never sent":  {3, 2, func(w *world) int64 { return w.stamp() + 1 }, false},
		"of a stamp without sign": {3, 2, func(*world) int64 { return 1 << 62 }, false},
		"of no voter":             {7, 2, now, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := leasing(t)
			a := w.server("a")
			w.now += 230 * time.Millisecond
			a.flush() // it sends stamps
			require.True(t, slices.ContainsFunc(w.flight, func(m *wire.Message) bool { return m.Lease == uint64(w.stamp()) }))
			w.flight = nil
			_ = w.inject(a, fmt.Sprintf(`{"type":"MsgHeartbeatResp","from":%d,"to":1,"term":%d,"lease":%d}`, echo.from, echo.term, echo.stamp(w)))
			w.now += 10 * time.Millisecond // beyond what was echoed before
			require.Equal(t, echo.held, a.node.State().Leased)
			w.now += 230 * time.Millisecond
			require.False(t, a.node.State().Leased, "it has ended")
		})
	}
}

// A pledge binds also in a later term, where this server came without a vote of its own.
func TestAPledgeOutlastsItsTerm(t *testing.T) {
	w := leasing(t)
	b := w.server("b")
	said := func() (said []string) {
		b.flush()
		for _, m := range w.flight {
			said = append(said, m.Raft.GetType().String())
		}
		w.flight = nil
		return said
	}
	require.NoError(t, w.inject(b, `{"type":"MsgPreVoteResp","from":5,"to":3,"term":3,"reject":true}`))
	require.Empty(t, said())
	require.EqualValues(t, 3, b.node.State().Term)
	vote := `{"type":"MsgVote","from":5,"to":3,"term":3,"log_term":2,"index":9}`
	require.NoError(t, w.inject(b, vote))
	require.Empty(t, said(), "it is bound")
	require.NoError(t, w.inject(b, `{"type":"MsgPreVote","from":5,"to":3,"term":4,"log_term":2,"index":9}`))
	require.Empty(t, said(), "it is bound")
	w.now += 300 * time.Millisecond
	require.NoError(t, w.inject(b, vote))
	require.Equal(t, []string{"MsgVoteResp"}, said())
}

// The votes for a server that its leader has told to take over break pledges.
func TestAPledgeIsBrokenForASuccessor(t *testing.T) {
	w := leasing(t)
	b := w.server("b")
	require.NoError(t, w.inject(b, `{"type":"MsgVote","from":5,"to":3,"term":3,"log_term":2,"index":9,"context":"43616d706169676e5472616e73666572"}`))
	b.flush()
	require.Len(t, w.flight, 1)
	require.Equal(t, "MsgVoteResp", w.flight[0].Raft.GetType().String())
	require.False(t, w.flight[0].Raft.GetReject())
}
