package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// An order is what a sorted slice is, whatever comes and goes.
func TestOrderIsThatOfASortedSlice(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var o order
	var want []string
	check := func() {
		t.Helper()
		require.Equal(t, len(want), o.len)
		require.True(t, slices.Equal(want, slices.Collect(o.from(""))))
		for range 20 {
			key := fmt.Sprint(random.IntN(30_000))
			at, there := slices.BinarySearch(want, key)
			_, _, found := o.find(key)
			require.Equal(t, there, found, key)
			require.True(t, slices.Equal(want[at:], slices.Collect(o.from(key))), key)
		}
		for i, run := range o.runs {
			require.NotEmpty(t, run)
			require.LessOrEqual(t, len(run), longestRun)
			if i > 0 {
				require.Greater(t, len(run)+len(o.runs[i-1]), longestRun/4, "two short runs side by side")
			}
		}
	}
	for phase, chance := range []int{90, 50, 10, 0, 95} {
		for range 20_000 {
			key := fmt.Sprint(random.IntN(30_000))
			at, there := slices.BinarySearch(want, key)
			switch add := random.IntN(100) < chance; {
			case add && !there:
				o.add(key)
				want = slices.Insert(want, at, key)
			case !add && there:
				o.remove(key)
				want = slices.Delete(want, at, at+1)
			}
		}
		t.Logf("phase %d: %d keys in %d runs", phase, o.len, len(o.runs))
		check()
	}
	o = ordered(slices.Clone(want))
	check()
	for len(want) > 0 {
		o.remove(want[0])
		want = want[1:]
	}
	check()
	require.Empty(t, o.runs)
}

func BenchmarkOrder(b *testing.B) {
	keys := make([]string, 1_000_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("user/%07d", i)
	}
	var o order
	b.Run("fill", func(b *testing.B) {
		for b.Loop() {
			o = order{}
			for _, i := range rand.Perm(len(keys)) {
				o.add(keys[i])
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/key")
	})
	b.Run("come and go", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			key := keys[i*7919%len(keys)]
			o.remove(key)
			o.add(key)
		}
	})
}
