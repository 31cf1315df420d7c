package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// What a turn leaves undone wakes the loop at once, and nothing else does.

// due tells whether the server wants a turn now.
func (s *server) due() bool {
	at, ok := s.node.Wake()
	return ok && at <= s.w.now
}

// ask has clients ask for so many commands of 64 KiB each, without a turn.
func (s *server) ask(commands int) {
	for i := range commands {
		s.w.serial++
		s.node.Request(caller(s.w.serial), &node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(fmt.Sprintf("%q", fmt.Sprint(i, strings.Repeat("x", 64<<10))))})
	}
}

// goOn does turns for as long as the server wants one now.
func (s *server) goOn() {
	for turns := 0; turns == 0 || s.due(); turns++ {
		require.Less(s.w.t, turns, 10)
		s.flush()
	}
}

// TestWhatATurnLeavesGoesOnAtOnce: more commands than a turn may pass on, at a leader and at a follower, and one beside an
// answer that is a whole turn's work.
func TestWhatATurnLeavesGoesOnAtOnce(t *testing.T) {
	w := newWorld(t).play("servers a=100000000 b=100000000", "request a CreateCluster")
	a, b := w.server("a"), w.server("b")
	w.play("pass 30ms")
	w.out.Reset()
	a.ask(40)
	a.goOn()
	require.Equal(t, 40, strings.Count(w.out.String(), "a answers"))

	a.node.Request(caller(1000), &node.Request{Op: node.GetServerState, Machines: true})
	a.flush() // it is encoded
	a.ask(1)
	a.goOn()
	require.Equal(t, 1, strings.Count(w.out.String(), "a answers 1000:"))
	require.Equal(t, 1, strings.Count(w.out.String(), fmt.Sprintf("a answers %d:", w.serial)))

	w.play("request a AddServer b", "pass 300ms")
	b.ask(40)
	b.goOn()
	passed := 0
	for _, m := range w.flight {
		passed += strings.Count(string(m.Propose.Encoded), "Apply")
	}
	require.Equal(t, 40, passed)
}

// TestWhatALinkDoesNotTakeWaits: a follower whose link to the leader is full does not try again and again.
func TestWhatALinkDoesNotTakeWaits(t *testing.T) {
	w := newWorld(t).play("servers a=100000000 b=100000000", "request a CreateCluster", "request a AddServer b", "pass 300ms")
	b := w.server("b")
	clear(b.up)
	b.ask(40)
	b.flush()
	require.False(t, b.due())
}

// TestWhoHasLeftSleeps: nothing that was held back keeps a server awake that has left its cluster.
func TestWhoHasLeftSleeps(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		w := newWorld(t).play("holding 10ms", "cluster a b c")
		s := w.server(name)
		w.play("request "+name+" Command", "request "+name+" Command")
		if name == "a" {
			w.play("deliver b", "deliver a")
		}
		at, _ := s.node.Wake()
		require.LessOrEqual(t, at, w.now+100*time.Millisecond, "something is held")
		s.node.ToldRemoved()
		w.now += time.Second
		s.flush()
		require.False(t, s.due(), name)
	}
}

// TestHandOverGoesOutAtOnce: leadership may be handed over between two turns; while that is under way nothing is proposed.
func TestHandOverGoesOutAtOnce(t *testing.T) {
	w := newWorld(t).play("cluster a b")
	a := w.server("a")
	a.goOn()
	w.flight = nil
	require.True(t, a.node.HandOver())
	require.True(t, a.due())
	a.goOn()
	require.Len(t, w.flight, 1)
	require.Equal(t, "MsgTimeoutNow", w.flight[0].Raft.GetType().String())
	require.True(t, a.node.HandOver())
	require.False(t, a.due(), "it waits for the other")
}
