package sim

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"
)

// runs carries out seeds on clocks that go as much too fast or slow, until one fails for a reason that counts, and returns that.
func runs(t *testing.T, first, count uint64, drift float64, counts func(error) bool) (total Result, failure error) {
	total = Result{Faults: map[string]int{}, Seen: map[string]int{}}
	for seed := first; seed < first+count && failure == nil; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			result, err := Run(Config{Seed: seed, Drift: drift})
			if err != nil && counts(err) {
				failure = err
			}
			for kind, n := range result.Faults {
				total.Faults[kind] += n
			}
			for kind, n := range result.Seen {
				total.Seen[kind] += n
			}
		})
	}
	return total, failure
}

// TestLeases holds that no read is stale under leases, on clocks that go at different rates.
func TestLeases(t *testing.T) {
	count := *seeds
	if flag.Lookup("seeds").DefValue == fmt.Sprint(count) || testing.Short() {
		count = 20
	}
	total, failure := runs(t, *from, count, withinBound, func(error) bool { return true })
	require.NoError(t, failure)
	if count < 20 {
		return
	}
	for _, kind := range hardships {
		require.Positive(t, total.Faults[kind.name], kind.name)
	}
	for _, what := range []string{"query beside the turns", "standstill in a turn"} {
		require.Positive(t, total.Seen[what], what)
	}
	t.Log(total.Faults, total.Seen)
}

// TestClocksBeyondTheBoundAreCaught holds that stale reads would be seen: leases do not allow for such clocks. Nor does much else:
// deadlines come late.
func TestClocksBeyondTheBoundAreCaught(t *testing.T) {
	first := *from + 215 // one in a hundred seeds shows it, and this one does; if it does not any more, the next ones are tried
	_, failure := runs(t, first, 600, 0.8, func(err error) bool { return strings.Contains(err.Error(), "Illegal") })
	require.Error(t, failure)
	t.Log(failure)
}
