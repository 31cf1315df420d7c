package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seeds = flag.Uint64("seeds", 275, "how many seeds to run")
	from  = flag.Uint64("from", 1, "the first of them")
	trace = flag.Bool("trace", false, "run only the first seed, with a readable trace on the standard error")
)

// TestSeeds runs whole clusters through faults; a failure names its seed, and -from SEED -trace tells its story.
func TestSeeds(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 30) // under the race detector, say, which has nothing to find in one goroutine
	}
	began, worked := time.Now(), cpuTime()
	total := Result{Answers: map[int]int{}, Faults: map[string]int{}, Seen: map[string]int{}}
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
			total.Compared += result.Compared
			total.Paged += result.Paged
			if result.Excused {
				excused++
			}
			for code, n := range result.Answers {
				total.Answers[code] += n
			}
			for kind, n := range result.Faults {
				total.Faults[kind] += n
			}
			for kind, n := range result.Seen {
				total.Seen[kind] += n
			}
		})
		if *trace {
			break
		}
	}
	took, worked := time.Since(began), cpuTime()-worked
	t.Logf("%v simulated in %v, %v of them at work (%.0f to 1): %d turns, %d messages, %d terms with a leader, %d times more than a page, %d seeds without a quorum in the end",
		total.Simulated.Round(time.Second), took.Round(time.Millisecond), worked.Round(time.Millisecond), float64(total.Simulated)/float64(worked), total.Turns, total.Messages, total.Terms, total.Paged, excused)
	t.Logf("answers by code: %v", total.Answers)
	t.Logf("faults: %v", total.Faults)
	t.Logf("timers, sessions and waits: %v", total.Seen)
	if *seeds >= 100 && !*trace {
		checkCoverage(t, &total)
	}
}

// checkCoverage holds that nothing has fallen asleep: every fault happens, and every answer is given.
func checkCoverage(t *testing.T, total *Result) {
	for _, kind := range kinds {
		require.Positive(t, total.Faults[kind.name], kind.name)
	}
	for _, other := range []string{"message twice", "bit flip refused", "removed server deleted", "demoted server deleted", "old build stopped", "old release stopped"} {
		require.Positive(t, total.Faults[other], other)
	}
	require.Positive(t, total.Paged)
	require.Positive(t, total.Compared)
	for _, what := range []string{"timer", "timer entry", "timer while quiet", "ticket answered", "end", "swept", "closed", "repeated",
		"forgotten", "late", "watch", "watch in vain", "gone", "room made", "too many outcomes", "too many sessions", "too many deferred",
		"unknown command", "abandoned", "abandoned with its answer", "abandoned in a session",
		"told to learn", "told to vote", "dead removed", "dead learner removed", "first of its level"} {
		require.Positive(t, total.Seen[what], what)
	}
	for _, event := range []string{"snapshot installed", "election", "start"} {
		for _, state := range []string{"while armed", "while deferred", "with sessions"} {
			require.Positive(t, total.Seen[event+" "+state], event+" "+state)
		}
	}
	require.Positive(t, total.Seen["snapshot installed while queries wait"])
	for _, code := range []int{0, 100, 101, 102, 103, 106, 107, 108, 109, 110, 111, 112, errEnded} {
		require.Positive(t, total.Answers[code], "answers with code %d", code)
	}
}

// TestSameSeedSameRun holds what makes every failure replay.
func TestSameSeedSameRun(t *testing.T) {
	run := func(t *testing.T, seed uint64) (result Result, trace string) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			var b strings.Builder
			var err error
			result, err = Run(Config{Seed: seed, Faults: 10 * time.Second, Trace: &b})
			require.NoError(t, err)
			trace = b.String()
		})
		return result, trace
	}
	for _, seed := range []uint64{3, 7, 8} {
		result, trace := run(t, seed)
		again, traceAgain := run(t, seed)
		require.Equal(t, result, again)
		require.True(t, trace == traceAgain, "two traces of seed %d", seed)
		require.Contains(t, trace, "leads term")
	}
}
