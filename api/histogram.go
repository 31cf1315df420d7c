package api

import (
	"math/bits"
	"time"
)

// Histogram counts durations by how long they were. The zero value is empty; a copy is a snapshot. It locks nothing: whoever
// owns it calls Observe.
type Histogram struct {
	Counts [HistogramBuckets]uint64 `json:"counts"` // by bucket; see HistogramBound
	Sum    time.Duration            `json:"sum_ns"` // of all, in nanoseconds
}

// HistogramBuckets is how many buckets there are. Each is twice as wide as the one before, and the last one has no end.
const HistogramBuckets = 24

// leastBound is the bound of the first bucket, in microseconds: 2³.
const leastBound = 3

// HistogramBound is the longest duration that bucket i counts: 8 µs·2^i, from 8 µs to 33.6 s. The last bucket has none: 0.
func HistogramBound(i int) time.Duration {
	if i >= HistogramBuckets-1 {
		return 0
	}
	return time.Microsecond << (leastBound + i)
}

// Observe counts a duration. A negative one, which a clock may give, counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.Counts[bucketOf(d)]++
	h.Sum += d
}

// bucketOf is the first bucket whose bound is no less than d.
func bucketOf(d time.Duration) int {
	if d == 0 {
		return 0
	}
	return min(bits.Len64(uint64(d-1)/uint64(time.Microsecond)>>leastBound), HistogramBuckets-1)
}

// Count is how many durations were counted.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}
