package node_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/node"
)

func init() {
	// standing: where each server stands
	commands["standing"] = func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node == nil {
				fmt.Fprintf(&w.out, "%s: down\n", s.name)
				continue
			}
			st := s.node.Standing()
			fmt.Fprintf(&w.out, "%s: id %d, %s, term %d", s.name, st.NodeID, st.Role, st.Term)
			if st.LeaderID != 0 {
				fmt.Fprintf(&w.out, ", leader %d %s", st.LeaderID, st.Leader)
			}
			if st.Ready {
				fmt.Fprint(&w.out, ", ready")
			}
			if st.Removed {
				fmt.Fprint(&w.out, ", removed")
			}
			for _, m := range st.Members {
				up := ""
				if m.Linked {
					up = " linked"
				}
				fmt.Fprintf(&w.out, "; %d %s %s%s", m.ID, m.Addr, m.Role, up)
			}
			fmt.Fprintf(&w.out, "; snapshot %d\n", st.Snapshot.Index)
		}
	}
}

// stood is what a server's core told of its standing after its last turn.
type stood struct {
	core     *node.Node
	mark     node.Mark
	standing node.Standing
}

// checkMark holds the core to what its Mark promises, after each turn of all transcripts: while it is the same, the
// Standing is too.
func (s *server) checkMark() {
	now := stood{s.node, s.node.Mark(), s.node.Standing()}
	if before := s.stood; before.core == now.core && before.mark == now.mark {
		require.Equal(s.w.t, before.standing, now.standing, "the mark has not changed")
	}
	s.stood = now
}

// TestReadyNeedsAllThatTheLeaderHadCommitted: a server that comes back with much missing gets it in several messages. The
// first one tells what the leader has committed, and ready is who has applied that.
func TestReadyNeedsAllThatTheLeaderHadCommitted(t *testing.T) {
	w := newWorld(t).play("servers a b c")
	for _, s := range w.servers {
		s.limit.MessageSize = 1 // an entry
		w.play("crash "+s.name, "restart "+s.name)
	}
	w.play("request a CreateCluster", "request a AddServer b", "request a AddServer c", "pass 600ms", "crash c", "pass 120ms")
	a, c := w.server("a"), w.server("c")
	for range 3 {
		w.play("request a Command", "deliver")
	}
	w.play("restart c")
	all, first, between := a.node.Committed(), c.node.Committed(), false
	require.GreaterOrEqual(t, all, first+3)
	w.await(func(s *server) bool {
		s.connect(everybody)
		applied := c.node.State().AppliedIndex
		between = between || first < applied && applied < all
		return c.node.Standing().Ready
	})
	require.Equal(t, all, c.node.State().AppliedIndex)
	require.True(t, between)
}

func everybody(*server) bool { return true }

// TestReadyNeedsTheStartOfTheTerm: a new leader may not know of all that is committed, and its first word is too little.
func TestReadyNeedsTheStartOfTheTerm(t *testing.T) {
	w := newWorld(t).play("cluster a b c", "pass 600ms", "request a Command", "deliver b", "deliver a")
	require.Contains(t, w.out.String(), "x is number 1") // is answered, and neither b nor c knows that it is committed
	w.play("crash a")
	ready := map[string]bool{}
	w.await(func(s *server) bool {
		s.connect(everybody)
		if st := s.node.Standing(); st.Ready && st.Term > 2 {
			require.Equal(t, []string{"x"}, s.m.Applied, "%s is ready", s.name)
			ready[s.name] = true
		}
		return len(ready) == 2
	})
}

// BenchmarkMark is what a turn pays for those who watch, where nothing has changed.
func BenchmarkMark(b *testing.B) {
	cores := startCores(b, 3)
	before, changed := cores[1].n.Mark(), 0
	b.ReportAllocs()
	for b.Loop() {
		if cores[1].n.Mark() != before {
			changed++
		}
	}
	require.Zero(b, changed)
}
