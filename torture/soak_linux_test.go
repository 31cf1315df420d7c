package torture

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var soakFlag = flag.Duration("soak", 0, "how long TestSoak lasts")

// sample is what a process takes up.
type sample struct{ rss, descriptors, threads int } // rss in KiB

// What the median of the last third may be above that of the first, in a soak.
const (
	moreRSS         = 1.25
	moreKiB         = 16 << 10
	moreDescriptors = 10
	moreThreads     = 10
)

const soakRate = 2500 // operations a second

// TestSoak keeps a cluster busy for long, with few faults, none of which ends a process, and a snapshot now and then so
// that the log stays short. What the machine holds stays the same. So must what the processes take up.
func TestSoak(t *testing.T) {
	if *soakFlag == 0 {
		t.Skip("takes long; -soak tells how long")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixMicro())
	}
	r := start(interruptible(t), t, &kvsService, build(t), seed, soakRate)
	kinds := gentleFaults()
	period := min(10*time.Second, *soakFlag/60)
	samples := make([][]sample, len(r.servers))
	for n := 1; time.Since(r.began) < *soakFlag; n++ {
		r.pass(period)
		require.NoError(t, r.ctx.Err())
		r.checkAlive()
		for i, s := range r.servers {
			now, err := s.sample()
			require.NoError(t, err)
			samples[i] = append(samples[i], now)
		}
		if n%6 == 0 { // at all servers; one answers
			r.snapshot(r.up())
			t.Logf("%8v %v", time.Since(r.began).Round(time.Second), last(samples))
		}
		if n%12 == 3 {
			f := kinds[r.rng.IntN(len(kinds))]
			r.counts[f.name]++
			heal := f.inject(r)
			r.pass(r.between(100*time.Millisecond, 2*time.Second))
			heal()
			r.awaitWrite()
		}
	}
	r.finish()
	for i := range r.servers {
		require.NoError(t, steady(samples[i]), "server %d", i)
	}
}

// gentleFaults are those after which the same processes go on.
func gentleFaults() []fault {
	gentle := networkFaults()
	for _, f := range processFaults() {
		if strings.HasPrefix(f.name, "pause") {
			gentle = append(gentle, f)
		}
	}
	return gentle
}

func last(samples [][]sample) (last []sample) {
	for _, of := range samples {
		last = append(last, of[len(of)-1])
	}
	return last
}

func (s sample) String() string {
	return fmt.Sprintf("%d KiB, %d descriptors, %d threads", s.rss, s.descriptors, s.threads)
}

// sample looks at a server's process.
func (s *server) sample() (now sample, err error) {
	proc := fmt.Sprintf("/proc/%d/", s.proc.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return now, err
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &now.rss) // most lines are others
		_, _ = fmt.Sscanf(line, "Threads: %d", &now.threads)
	}
	open, err := os.ReadDir(proc + "fd")
	now.descriptors = len(open)
	if now.rss == 0 || now.threads == 0 {
		return now, fmt.Errorf("%sstatus tells neither memory nor threads: %s", proc, status)
	}
	return now, err
}

// steady compares the last third of some samples with the first, after a tenth for warming up.
func steady(samples []sample) error {
	samples = samples[len(samples)/10:]
	third := len(samples) / 3
	if third == 0 {
		return fmt.Errorf("%d samples are too few", len(samples))
	}
	first, last := median(samples[:third]), median(samples[len(samples)-third:])
	if float64(last.rss) > float64(first.rss)*moreRSS+moreKiB || last.descriptors > first.descriptors+moreDescriptors || last.threads > first.threads+moreThreads {
		return fmt.Errorf("it grows: from %v to %v", first, last)
	}
	return nil
}

func median(samples []sample) sample {
	middle := func(of func(sample) int) int {
		var values []int
		for _, s := range samples {
			values = append(values, of(s))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{
		middle(func(s sample) int { return s.rss }),
		middle(func(s sample) int { return s.descriptors }),
		middle(func(s sample) int { return s.threads }),
	}
}

// TestSteady holds the judge of soaks to what it must see.
func TestSteady(t *testing.T) {
	var constant, leaking, warming []sample
	for i := range 100 {
		constant = append(constant, sample{50_000 + i%7*1000, 40 + i%3, 12})
		leaking = append(leaking, sample{50_000, 20 + i/3, 12})
		warming = append(warming, sample{min(10_000+i*10_000, 60_000), 40, 12})
	}
	require.NoError(t, steady(constant))
	require.NoError(t, steady(warming))
	require.ErrorContains(t, steady(leaking), "it grows")
	require.Error(t, steady(nil))
}
