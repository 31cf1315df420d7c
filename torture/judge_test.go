//go:build unix

package torture

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJudge holds the judge itself to a few histories: one that can't say no would be worth nothing.
func TestJudge(t *testing.T) {
	at := func(o operation, call, ret int64) operation {
		o.call, o.ret = call, ret
		return o
	}
	wrote := func(value, before int64) operation { return operation{kind: put, wrote: value, saw: before} }
	saw := func(value int64) operation { return operation{kind: get, saw: value} }
	sawLocally := func(value int64) operation { return operation{kind: local, saw: value} }
	deleted := func(value int64) operation { return operation{kind: del, saw: value} }
	lost := func(o operation) operation {
		o.outcome = unknown
		return o
	}
	rejected := func(o operation) operation {
		o.outcome = refused
		return o
	}
	blind := func(o operation) operation {
		o.saw, o.blind = 0, true
		return o
	}
	on := func(server int, o operation) operation {
		o.server = server
		return o
	}
	tests := []struct {
		name  string
		ops   []operation
		wrong string // part of the verdict, "" if there is nothing wrong
	}{
		{"one after the other", []operation{at(wrote(1, 0), 0, 1), at(saw(1), 2, 3), at(deleted(1), 4, 5), at(saw(0), 6, 7)}, ""},
		{"a get at the same time sees either value", []operation{at(wrote(1, 0), 0, 9), at(saw(0), 1, 2), at(saw(1), 3, 4)}, ""},
		{"a stale read", []operation{at(wrote(1, 0), 0, 1), at(wrote(2, 1), 2, 3), at(saw(1), 4, 5)}, "not linearizable"},
		{"a lost write", []operation{at(wrote(1, 0), 0, 1), at(wrote(2, 0), 2, 3)}, "not linearizable"},
		{"time runs backwards", []operation{at(wrote(1, 0), 0, 9), at(saw(1), 1, 2), at(saw(0), 3, 4)}, "not linearizable"},
		{"a write applied twice", []operation{at(wrote(1, 0), 0, 1), at(wrote(2, 1), 2, 3), at(wrote(3, 2), 4, 5), at(saw(2), 6, 7)}, "not linearizable"},
		{"an unknown put that took effect late", []operation{at(lost(wrote(1, 0)), 0, 1), at(saw(0), 2, 3), at(saw(1), 4, 5)}, ""},
		{"an unknown put that never did", []operation{at(lost(wrote(1, 0)), 0, 1), at(wrote(2, 0), 2, 3), at(saw(2), 4, 5)}, ""},
		{"an unknown put that was seen and vanished", []operation{at(lost(wrote(1, 0)), 0, 1), at(saw(1), 2, 3), at(saw(0), 4, 5)}, "not linearizable"},
		{"an unknown delete that took effect late", []operation{at(wrote(1, 0), 0, 1), at(lost(deleted(0)), 2, 3), at(saw(1), 4, 5), at(saw(0), 6, 7)}, ""},
		{"an unknown delete can't have come before its call", []operation{at(wrote(1, 0), 0, 1), at(saw(0), 2, 3), at(lost(deleted(0)), 4, 5)}, "not linearizable"},
		{"a refused put", []operation{at(rejected(wrote(1, 0)), 0, 1), at(saw(0), 2, 3)}, ""},
		{"a refused put that took effect", []operation{at(rejected(wrote(1, 0)), 0, 1), at(saw(1), 2, 3)}, "a refused write had an effect"},
		{"a refused delete that took effect", []operation{at(wrote(1, 0), 0, 1), at(rejected(deleted(0)), 2, 3), at(saw(0), 4, 5)}, "not linearizable"},
		{"a write that tells nothing, and is read", []operation{at(blind(wrote(1, 0)), 0, 1), at(blind(wrote(2, 0)), 2, 3), at(saw(2), 4, 5)}, ""},
		{"a write that tells nothing, and is lost", []operation{at(blind(wrote(1, 0)), 0, 1), at(blind(wrote(2, 0)), 2, 3), at(saw(1), 4, 5)}, "not linearizable"},
		{"a delete that tells nothing, and is lost", []operation{at(blind(wrote(1, 0)), 0, 1), at(blind(deleted(0)), 2, 3), at(saw(1), 4, 5)}, "not linearizable"},
		{"a write that tells nothing is no value before", []operation{at(blind(wrote(1, 0)), 0, 1), at(wrote(2, 1), 2, 3), at(saw(2), 4, 5)}, ""},
		{"one half of a pair is behind the other", []operation{at(blind(wrote(1, 0)), 0, 9), at(saw(1), 1, 2), at(saw(0), 3, 4)}, "not linearizable"},
		{"a value of nobody", []operation{at(saw(7), 0, 1)}, "nobody wrote"},
		{"a value before it was written", []operation{at(saw(1), 0, 1), at(wrote(1, 0), 2, 3)}, "from the future"},
		{"a local get may be stale while nothing was answered", []operation{at(wrote(1, 0), 0, 1), at(wrote(2, 1), 2, 5), at(sawLocally(1), 3, 4)}, ""},
		{"a local get may be stale on another server", []operation{on(1, at(wrote(1, 0), 0, 1)), on(1, at(wrote(2, 1), 2, 3)), on(2, at(sawLocally(1), 4, 5))}, ""},
		{"but not older than an answer of its server", []operation{on(1, at(wrote(1, 0), 0, 1)), on(1, at(wrote(2, 1), 2, 3)), on(2, at(saw(2), 4, 5)), on(2, at(sawLocally(1), 6, 7))}, "older than an answer"},
		{"a local get of a value of nobody", []operation{at(sawLocally(7), 0, 1)}, "nobody wrote"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := (&register{key: "k", ops: test.ops}).judge(t.TempDir())
			if test.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.wrong)
			}
		})
	}
}
