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
