//go:build unix

package torture

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJudgeTenant holds the judge of tenants to histories that it must refuse.
func TestJudgeTenant(t *testing.T) {
	const lock, count, key = "lock a", "count m", "value x"
	n := func(n int64) *int64 { return &n }
	at := func(d deed, call, ret int64) deed {
		d.call, d.ret = call, ret
		return d
	}
	locked := func(handle uint64) deed {
		return deed{ask: &ask{LockID: lock, LockDur: 9}, reply: reply{told: told{Lock: handle}}}
	}
	unlocked := func(handle uint64) deed { return deed{ask: &ask{UnlockID: lock, Unlock: handle}} }
	extended := func(handle uint64) deed {
		return deed{ask: &ask{UnlockID: lock, Unlock: handle, LockID: lock, LockDur: 9}, reply: reply{told: told{Lock: handle}}}
	}
	why := func(d deed, why string) deed {
		d.reply = reply{why: why}
		return d
	}
	added := func(by, from, to int64) deed {
		return deed{ask: &ask{Atomic: []change{{Key: count, Add: n(by)}}}, reply: reply{told: told{Atomic: []changed{{Key: count, Old: from, New: to}}}}}
	}
	setIf := func(is, to, from int64, failed bool) deed {
		done := changed{Key: count, Old: from, Failed: failed}
		if !failed {
			done.New = to
		}
		return deed{ask: &ask{Atomic: []change{{Key: count, Set: n(to), IfEq: n(is)}}}, reply: reply{told: told{Atomic: []changed{done}}}}
	}
	wrote := func(value int64) deed { return deed{ask: &ask{KVSet: []set{{Key: key, Value: value}}}} }
	saw := func(value int64, version uint64) deed {
		return deed{ask: &ask{KVGet: []string{key}}, reply: reply{told: told{KV: []keyValue{{key, value, version}}}}}
	}
	lose := func(d deed) deed { d.reply = reply{outcome: unknown}; return d }
	refuse := func(d deed) deed { d.reply = reply{outcome: refused}; return d }
	blind := func(d deed) deed { d.reply, d.blind = reply{}, true; return d }
	both := deed{ // a lock, and something that is done with it
		ask:   &ask{LockID: lock, LockDur: 9, Atomic: []change{{Key: count, Add: n(1)}}},
		reply: reply{told: told{Lock: 7, Atomic: []changed{{Key: count, Old: 0, New: 1}}}},
	}
	const wrong = "not linearizable"
	for name, test := range map[string]struct {
		deeds []deed
		wrong string
	}{
		"locked, given back, locked":             {[]deed{at(locked(1), 0, 1), at(unlocked(1), 2, 3), at(locked(2), 4, 5)}, ""},
		"two holders":                            {[]deed{at(locked(1), 0, 1), at(locked(2), 2, 3)}, wrong},
		"it was free":                            {[]deed{at(why(locked(0), notLocked), 0, 1)}, wrong},
		"it was taken":                           {[]deed{at(locked(1), 0, 1), at(why(locked(0), notLocked), 2, 3)}, ""},
		"another one's handle unlocks":           {[]deed{at(locked(1), 0, 1), at(unlocked(2), 2, 3)}, wrong},
		"another one's handle does not":          {[]deed{at(locked(1), 0, 1), at(why(unlocked(2), notHolder), 2, 3)}, ""},
		"the holder is told he is none":          {[]deed{at(locked(1), 0, 1), at(why(unlocked(1), notHolder), 2, 3)}, wrong},
		"extended":                               {[]deed{at(locked(1), 0, 1), at(extended(1), 2, 3), at(why(locked(0), notLocked), 4, 5)}, ""},
		"extended by nobody":                     {[]deed{at(extended(1), 2, 3)}, wrong},
		"maybe locked":                           {[]deed{at(lose(locked(0)), 0, 1), at(why(locked(0), notLocked), 2, 3), at(locked(2), 4, 5)}, ""},
		"certainly not locked":                   {[]deed{at(refuse(locked(0)), 0, 1), at(why(locked(0), notLocked), 2, 3)}, wrong},
		"maybe given back":                       {[]deed{at(locked(1), 0, 1), at(lose(unlocked(1)), 2, 3), at(locked(2), 4, 5)}, ""},
		"not locked, and yet counted":            {[]deed{at(locked(1), 0, 1), at(why(both, notLocked), 2, 3), at(added(1, 1, 2), 4, 5)}, wrong},
		"not locked, and not counted":            {[]deed{at(locked(1), 0, 1), at(why(both, notLocked), 2, 3), at(added(1, 0, 1), 4, 5)}, ""},
		"locked, and not counted":                {[]deed{at(both, 2, 3), at(added(1, 0, 1), 4, 5)}, wrong},
		"an answer without a handle":             {[]deed{at(locked(0), 0, 1)}, wrong},
		"counted":                                {[]deed{at(added(2, 0, 2), 0, 1), at(added(-5, 2, -3), 2, 3)}, ""},
		"a lost counter":                         {[]deed{at(added(2, 0, 2), 0, 1), at(added(1, 0, 1), 2, 3)}, wrong},
		"counted twice":                          {[]deed{at(added(2, 0, 2), 0, 1), at(added(1, 4, 5), 2, 3)}, wrong},
		"an idempotency id, done once":           {[]deed{at(blind(added(2, 0, 0)), 0, 3), at(added(1, 2, 3), 4, 5)}, ""},
		"an idempotency id, done twice":          {[]deed{at(blind(added(2, 0, 0)), 0, 3), at(added(1, 4, 5), 4, 5)}, wrong},
		"an idempotency id, not done":            {[]deed{at(blind(added(2, 0, 0)), 0, 3), at(added(1, 0, 1), 4, 5)}, wrong},
		"an idempotency id, done after the end":  {[]deed{at(blind(added(2, 0, 0)), 0, 3), at(added(1, 0, 1), 4, 5), at(added(1, 3, 4), 6, 7)}, wrong},
		"maybe counted, late":                    {[]deed{at(lose(added(2, 0, 0)), 0, 1), at(added(1, 0, 1), 4, 5), at(added(1, 3, 4), 6, 7)}, ""},
		"a condition that holds":                 {[]deed{at(setIf(0, 5, 0, false), 0, 1), at(setIf(5, 6, 5, false), 2, 3)}, ""},
		"a condition that fails":                 {[]deed{at(setIf(1, 5, 0, true), 0, 1), at(added(1, 0, 1), 2, 3)}, ""},
		"one that fails and should not":          {[]deed{at(setIf(0, 5, 0, true), 0, 1)}, wrong},
		"one that should have failed":            {[]deed{at(setIf(1, 5, 0, false), 0, 1)}, wrong},
		"written and read":                       {[]deed{at(wrote(7), 0, 1), at(saw(7, 1), 2, 3), at(wrote(8), 4, 5), at(saw(8, 2), 6, 7)}, ""},
		"a stale read":                           {[]deed{at(wrote(7), 0, 1), at(wrote(8), 2, 3), at(saw(7, 1), 4, 5)}, wrong},
		"a lost write":                           {[]deed{at(wrote(7), 0, 1), at(saw(0, 0), 4, 5)}, wrong},
		"a value of nobody":                      {[]deed{at(saw(7, 1), 0, 1)}, "nobody"},
		"a value that was certainly not written": {[]deed{at(refuse(wrote(7)), 0, 1), at(saw(7, 1), 2, 3)}, "nobody"},
		"a version twice": {
			[]deed{at(wrote(7), 0, 1), at(saw(7, 1), 2, 3), at(wrote(8), 4, 5), at(saw(8, 1), 6, 7)}, "given twice",
		},
		"versions fall": {
			[]deed{at(wrote(7), 0, 1), at(saw(7, 2), 2, 3), at(wrote(8), 4, 5), at(saw(8, 1), 6, 7)}, "backwards",
		},
		"a version that changes": {[]deed{at(wrote(7), 0, 1), at(saw(7, 1), 2, 3), at(saw(7, 2), 4, 5)}, "had version"},
		"nothing has a version":  {[]deed{at(saw(0, 3), 0, 1)}, "the value is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := judgeTenant("t", test.deeds, t.TempDir())
			if test.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.wrong)
			}
		})
	}
}
