package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// hop delivers what is under way now, and nothing that this brings about.
func (w *world) hop() {
	flight := w.flight
	w.flight = nil
	for _, m := range flight {
		i := slices.IndexFunc(w.servers, func(s *server) bool { return s.id() == m.To })
		line, err := wire.AppendMessage(nil, m)
		require.NoError(w.t, err)
		require.NoError(w.t, w.inject(w.servers[i], string(line)))
	}
	for _, s := range w.servers {
		s.flush()
	}
}

// TestQueryIsAnsweredOverSlowLinks: a follower's query takes four hops, here of 60 ms each, which is longer than the
// patience after which it is asked for again. The first answer must still count.
func TestQueryIsAnsweredOverSlowLinks(t *testing.T) {
	w := cluster(t)
	request(w, w.server("b"), "Query", "x")
	for step := 1; step <= 60; step++ {
		w.now += 30 * time.Millisecond
		for _, s := range w.servers {
			s.flush()
		}
		if step%2 == 0 {
			w.hop()
		}
	}
	require.Contains(t, w.out.String(), "b answers 1: ")
	require.NotContains(t, w.out.String(), "108")
	require.Equal(t, "Leader", w.server("a").node.State().Role)
}
