package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets of at most 3% width. Any number of goroutines may add; the rest is for afterwards.
type histogram struct {
	counts [64 * sub]uint32
	n      uint64 // set by merge
}

const (
	subBits = 5
	sub     = 1 << subBits
)

func bucket(ns uint64) int {
	if ns < sub {
		return int(ns)
	}
	shift := bits.Len64(ns) - 1 - subBits
	return (shift+1)*sub + int(ns>>shift)&(sub-1)
}

// middle is the middle of a bucket.
func middle(i int) time.Duration {
	if i < sub {
		return time.Duration(i)
	}
	shift := i/sub - 1
	low := uint64(sub+i%sub) << shift
	return time.Duration(low + uint64(1)<<shift/2)
}

func (h *histogram) add(d time.Duration) {
	atomic.AddUint32(&h.counts[bucket(uint64(max(d, 0)))], 1)
}

// quantile is 0 where nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.n))
	var seen uint64
	for i, c := range h.counts {
		if seen += uint64(c); c > 0 && seen > min(rank, h.n-1) {
			return middle(i)
		}
	}
	return 0
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
		h.n += uint64(c)
	}
}
