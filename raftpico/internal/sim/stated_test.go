package sim

import (
	"flag"
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"
)

var stated = flag.Duration("stated", 4*time.Minute, "how long to simulate the stated load")

// TestStatedLoad tells how much simulated time takes how much real time: with 3 servers, 8 clients, 20 operations and one fault
// a simulated second. Only the time with load counts as simulated; the work includes all the checks and Porcupine's.
func TestStatedLoad(t *testing.T) {
	load := Load{Servers: 3, Clients: 8, Operations: 20, Faults: 1}
	const each = 2 * time.Minute
	var simulated time.Duration
	var total Result
	began, worked := time.Now(), cpuTime()
	for seed := uint64(1); simulated < *stated; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			result, err := Run(Config{Seed: seed, Faults: each, Load: &load})
			require.NoError(t, err)
			total.Turns += result.Turns
			total.Messages += result.Messages
			total.Asked += result.Asked
			total.Drawn += result.Drawn
		})
		simulated += each
	}
	took, worked := time.Since(began), cpuTime()-worked
	operations, faults := float64(total.Asked)/simulated.Seconds(), float64(total.Drawn)/simulated.Seconds()
	t.Logf("%v simulated with %.1f operations and %.2f faults a second: %.0f to 1 by processor time, %.0f to 1 by the clock; %d turns, %d messages",
		simulated, operations, faults, float64(simulated)/float64(worked), float64(simulated)/float64(took), total.Turns, total.Messages)
	require.InDelta(t, load.Operations, operations, 2)
	require.InDelta(t, load.Faults, faults, 0.2)
}
