//go:build unix

package torture

import (
	"regexp"
	"time"

	"github.com/stretchr/testify/require"
)

// fault is something that goes wrong. Inject does it, and returns what ends it, nil if it is over by then.
type fault struct {
	name   string
	alone  bool // the cluster must work otherwise, before and during it
	inject func(r *run) (heal func())
}

// faults are all that can be done in this world.
func (r *run) faults() (all []fault) {
	all = append(processFaults(), networkFaults()...)
	all = append(all, memberFaults()...)
	if r.service == &kvsService { // whose limits they know
		all = append(all, fault{name: "hostile clients", alone: true, inject: func(r *run) func() { return r.hostileClients() }})
	}
	all = append(all, r.diskFaults()...)
	if *kindFlag == "" {
		return all
	}
	var some []fault
	kind, err := regexp.Compile(*kindFlag)
	require.NoError(r.t, err)
	for _, f := range all {
		if kind.MatchString(f.name) {
			some = append(some, f)
		}
	}
	require.NotEmpty(r.t, some, "no fault matches %s", *kindFlag)
	return some
}

// torture injects n faults, each kind as often as the others, in a random order. Now and then one lasts while others come.
func (r *run) torture(n int) {
	r.t.Helper()
	all := r.faults()
	var deck []int
	var heals []func() // of faults that last
	healAll := func() {
		for _, heal := range heals {
			heal()
		}
		heals = nil
	}
	for i := range n {
		if len(deck) == 0 {
			deck = r.rng.Perm(len(all))
		}
		f := all[deck[0]]
		deck = deck[1:]
		if f.alone {
			healAll()
			r.awaitWrite()
		}
		r.t.Logf("%8v fault %d: %s", time.Since(r.began).Round(time.Millisecond), i+1, f.name)
		r.counts[f.name]++
		heal := f.inject(r)
		if i%5 == 4 { // long enough for links and clients to give up
			r.pass(r.between(2*time.Second, 8*time.Second))
		} else {
			r.pass(r.between(100*time.Millisecond, 2*time.Second))
		}
		if heal != nil {
			heals = append(heals, heal)
		}
		if f.alone || len(heals) >= 3 || r.rng.IntN(3) > 0 {
			healAll()
		}
		if len(heals) == 0 && r.rng.IntN(2) == 0 {
			r.awaitWrite()
			r.pass(r.between(0, time.Second))
		}
		require.NoError(r.t, r.ctx.Err())
		r.checkAlive()
	}
	healAll()
}
