package node_test

import (
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

func init() {
	// checks TIME: how often servers that start from now on have their states compared
	commands["checks"] = func(w *world, d *datadriven.TestData) {
		var err error
		w.checks, err = time.ParseDuration(d.CmdArgs[0].Key)
		require.NoError(w.t, err)
	}
	// hashes: what servers tell each other of their states' hashes; then each one's, and whose state it knows to be another
	commands["hashes"] = func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			for id, to := range s.up {
				if h := to.node.StateHash(); s.node != nil && h.Index > 0 {
					s.node.PeerHash(id, h)
				}
			}
		}
		for _, s := range w.servers {
			if s.node == nil {
				continue
			}
			st := s.node.State()
			fmt.Fprintf(&w.out, "%s:", s.name)
			if st.StateHash != nil {
				fmt.Fprintf(&w.out, " %d %s", st.StateHash.Index, st.StateHash.Hash)
			}
			for _, m := range st.Members {
				if m.Diverged {
					fmt.Fprintf(&w.out, ", %s differs", m.Addr)
				}
			}
			require.Equal(w.t, s.hasDiverged(), st.Diverged)
			w.out.WriteString("\n")
		}
	}
}

func (s *server) hasDiverged() bool {
	for _, m := range s.node.State().Members {
		if m.Diverged {
			return true
		}
	}
	return false
}

// Hashes are compared at one index, whoever makes his first, and only if they are of one kind: a build may have another one.
func TestHashesAreComparedAtTheSameIndex(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	w := newWorld(t)
	all := func(*server) bool { return true }
	commands["cluster"](w, &datadriven.TestData{CmdArgs: []datadriven.CmdArg{{Key: "a"}, {Key: "b"}}})
	a, b := w.server("a"), w.server("b")
	check := func() wire.StateHash {
		a.node.Request(nobody, &node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(`"x"`)})
		a.node.Request(nobody, &node.Request{Op: node.CheckState})
		a.flush()
		w.pass(1200*time.Millisecond, all)
		return a.node.StateHash()
	}
	own := check()
	require.NotZero(t, own.Index)
	require.Equal(t, own, b.node.StateHash())
	tell := func(index uint64, hash string) bool {
		a.node.PeerHash(b.id(), wire.StateHash{Index: index, Hash: hash})
		return a.hasDiverged()
	}
	require.False(t, tell(own.Index+1, "snapshot:0"), "no hash of our own")
	require.False(t, tell(own.Index, "machine:0"), "another kind")
	require.False(t, tell(own.Index, own.Hash))
	require.True(t, tell(own.Index, "snapshot:0"))
	require.True(t, tell(own.Index, "machine:0"), "that says nothing")
	require.False(t, tell(own.Index, own.Hash), "it has another state since")

	next := own.Index + 2 // a command, and a CheckState
	require.False(t, tell(next, "snapshot:0"))
	require.Equal(t, next, check().Index)
	require.True(t, a.hasDiverged(), "the other one was first")
	for range 16 {
		check()
	}
	require.True(t, tell(next, own.Hash), "so many are kept")
}
