package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogramCountsEachDurationUnderItsBound(t *testing.T) {
	var h Histogram
	last := HistogramBuckets - 1
	require.Equal(t, 8*time.Microsecond, HistogramBound(0))
	require.Zero(t, HistogramBound(last))
	longest := HistogramBound(last - 1)
	require.Equal(t, 33554432*time.Microsecond, longest)
	for i := range last {
		require.Equal(t, i, bucketOf(HistogramBound(i)))
		require.Equal(t, i+1, bucketOf(HistogramBound(i)+1))
	}
	for _, d := range []time.Duration{-time.Second, 0, 1, HistogramBound(0), longest, longest + 1, 1000 * time.Hour} {
		h.Observe(d)
	}
	require.EqualValues(t, 7, h.Count())
	require.EqualValues(t, 4, h.Counts[0])
	require.EqualValues(t, 1, h.Counts[last-1])
	require.EqualValues(t, 2, h.Counts[last])
	require.Equal(t, 1+HistogramBound(0)+2*longest+1+1000*time.Hour, h.Sum)
}
