package node_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// hearer is a keeper that hears of abandoned tickets. It forgets their names; if the key "abandon" has the value "panic",
// it panics; if it has "answer", it answers them.
type hearer struct{ keeper }

func (h *hearer) OnAbandon(ctx *machine.Context, t machine.Ticket) {
	name := "nobody's"
	for n, of := range h.Tickets {
		if of == t { // a ticket has one name
			name = n
		}
	}
	h.happened(ctx, "abandoned", name)
	switch h.Values["abandon"] {
	case "panic":
		panic("at an abandoned ticket")
	case "answer":
		ctx.Answer(t, "by OnAbandon", nil)
	}
	delete(h.Tickets, name)
	h.set(ctx, "abandoned", name)
}

func init() { maps.Copy(commands, hearerCommands) }

var hearerCommands = map[string]func(*world, *datadriven.TestData){
	// hearers: servers that come from now on have keepers that hear of abandoned tickets
	"hearers": func(w *world, d *datadriven.TestData) { w.keepers, w.hears = true, true },
	// unreached CALLER…: no answer reaches them from now on
	"unreached": func(w *world, d *datadriven.TestData) {
		if w.unreached == nil {
			w.unreached = map[node.Caller]bool{}
		}
		for _, arg := range d.CmdArgs {
			w.unreached[caller(w.number(arg.Key))] = true
		}
	},
}

// TestAnswersOfTheWatchAreNotAbandoned: while the disk hangs, the watch gives out an answer that the core knows. Then the core's
// own does not reach the caller, and yet it has one. Without the watch, nobody has.
func TestAnswersOfTheWatchAreNotAbandoned(t *testing.T) {
	for _, watched := range []bool{true, false} {
		w := keepers(t, "hearers", "cluster a")
		w.unreached = map[node.Caller]bool{}
		a := w.server("a")
		for i := range 30 {
			a.apply(machine.Command, fmt.Sprint("defer ", i))
		}
		a.flush()
		for i := range 30 {
			a.apply(machine.Command, fmt.Sprintf("answer %d yours", i))
		}
		a.late = true // not all are given out in one turn
		a.flush()
		a.apply(machine.Command, "add word")
		left := 0
		a.atDisk = func(*wire.Record) {
			if a.atDisk = nil; watched {
				a.node.Overdue(0, func(c node.Caller, result json.RawMessage, err *jsonrpc.Error) {
					require.Equal(t, `"yours"`, string(result))
					left++
				})
			}
			for c := range 30 {
				w.unreached[caller(c+1)] = true
			}
		}
		a.flush()
		a.late = false
		a.flush()
		a.flush()
		require.Equal(t, watched, left > 0)
		require.Zero(t, a.node.Pending())
		require.Equal(t, !watched, strings.Contains(strings.Join(a.k.Applied, " "), "abandoned"))
	}
}

// TestManyAreAbandoned: an entry has a bound, and all are told.
func TestManyAreAbandoned(t *testing.T) {
	w := keepers(t, "hearers", "limits pending=3000", "cluster a b c")
	b := w.server("b")
	for range 2500 {
		b.apply(machine.Command, "defer lock")
	}
	b.flush()
	w.play("deliver", "crash a", "crash c")
	b.node.Forget(func(node.Caller) bool { return true })
	w.play("pass 600ms", "restart a", "pass 3s")
	applied := strings.Join(b.k.Applied, " ")
	require.Equal(t, 2500, strings.Count(applied, "abandoned"))
	require.Equal(t, *w.server("a").k, *b.k)
	sizes := []int{}
	w.out.Reset()
	w.play("log b")
	for _, entry := range strings.Split(w.out.String(), `"Abandon"`)[1:] {
		sizes = append(sizes, strings.Count(entry, `"offset"`))
	}
	require.Equal(t, []int{1024, 1024, 452}, sizes)
}
