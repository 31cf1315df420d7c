package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// TestOverdueTellsCallersAlone: while the disk hangs, whoever waits past the deadline is told, and what the core wants
// itself, here to raise the machine's version, has nobody to be told.
func TestOverdueTellsCallersAlone(t *testing.T) {
	w := newWorld(t).play("cluster a", "build 1 a", "crash a", "restart a")
	a := w.server("a")
	errands := 0
	told := map[node.Caller]bool{}
	a.atDisk = func(r *wire.Record) {
		if r.LogEntries != nil {
			for _, e := range r.LogEntries.Entries {
				errands += strings.Count(string(e.GetData()), "SetVersion")
			}
		}
		a.node.Overdue(time.Hour, func(c node.Caller, _ json.RawMessage, _ *jsonrpc.Error) {
			require.IsType(t, caller(0), c)
			told[c] = true
		})
	}
	w.play("pass 900ms", "request a CheckState", "pass 90ms", "request a Command")
	require.Equal(t, 1, errands)
	require.Len(t, told, 2)

	clear(told)
	w.play("pass 2s")
	a.held = true
	w.play("request a CheckState", "request a TakeSnapshot") // their states are encoded
	clear(told)
	w.play("request a Command")
	require.Len(t, told, 3)
}

// TestCancelIsNoRequest: a caller that waits no longer is answered once, also by a core that has failed.
func TestCancelIsNoRequest(t *testing.T) {
	w := newWorld(t).play("cluster a", "break-disk a")
	a := w.server("a")
	w.serial++
	a.node.Request(caller(1), &node.Request{Op: node.Apply, Input: json.RawMessage(`"x"`)})
	require.Error(t, a.node.Flush())
	a.node.Stop("the server has failed")
	a.node.Request(caller(1), &node.Request{Op: node.Cancel})
	require.Equal(t, 1, strings.Count(w.out.String(), fmt.Sprintf("a answers %d:", 1)), w.out.String())
}

// TestStateTellsWhatIsSaved: a GetServerState that is answered while the disk hangs tells no term and no vote that a crash would
// take back.
func TestStateTellsWhatIsSaved(t *testing.T) {
	w := cluster(t)
	b := w.server("b")
	var term uint64
	b.atDisk = func(r *wire.Record) {
		var state node.ServerState
		require.NoError(t, json.Unmarshal(b.node.Describe(nil), &state))
		require.EqualValues(t, 2, state.Term)
		require.Nil(t, state.VotedFor)
		term = r.HardState.Term
	}
	require.NoError(t, w.inject(b, `{"type":"MsgVote","from":5,"to":3,"term":3,"log_term":2,"index":8,"context":"43616d706169676e5472616e73666572"}`))
	b.flush()
	require.EqualValues(t, 3, term)
	require.EqualValues(t, 3, b.node.State().Term)
}
