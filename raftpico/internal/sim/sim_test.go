package sim

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seeds = flag.Uint64("seeds", 200, "how many seeds to run")
	from  = flag.Uint64("from", 1, "the first of them")
	trace = flag.Bool("trace", false, "run only the first seed, with a readable trace on the standard error")
)

// TestSeeds runs whole clusters through faults; a failure names its seed, and -from SEED -trace tells its story.
func TestSeeds(t *testing.T) {
	began := time.Now()
	total := Result{Answers: map[int]int{}, Faults: map[string]int{}}
	excused := 0
	for seed := *from; seed < *from+*seeds; seed++ {
		config := Config{Seed: seed}
		if *trace {
			config.Trace = os.Stderr
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			result, err := Run(config)
			if err != nil {
				t.Error(err)
			}
			total.Simulated += result.Simulated
			total.Turns += result.Turns
			total.Messages += result.Messages
			total.Terms += result.Terms
			if result.Excused {
				excused++
			}
			for code, n := range result.Answers {
				total.Answers[code] += n
			}
			for kind, n := range result.Faults {
				total.Faults[kind] += n
			}
		})
		if *trace {
			break
		}
	}
	took := time.Since(began)
	t.Logf("%v simulated in %v (%.0f to 1), %d turns, %d messages, %d terms with a leader, %d seeds without a quorum in the end", total.Simulated, took.Round(time.Millisecond),
		float64(total.Simulated)/float64(took), total.Turns, total.Messages, total.Terms, excused)
	t.Logf("answers by code: %v", total.Answers)
	t.Logf("faults: %v", total.Faults)
}

// TestSameSeedSameRun holds what makes every failure replay.
func TestSameSeedSameRun(t *testing.T) {
	run := func(t *testing.T) (result Result) {
		t.Run("run", func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 7)
			var err error
			result, err = Run(Config{Seed: 7, Faults: 10 * time.Second})
			require.NoError(t, err)
		})
		return result
	}
	require.Equal(t, run(t), run(t))
}
