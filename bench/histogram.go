package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram counts durations of up to an hour, to two digits. Any number of goroutines may add; the rest is for afterwards.
type histogram struct {
	mu  sync.Mutex
	hdr *hdrhistogram.Histogram // nil: nothing was added
	n   int64                   // set by merge
}

// maxHistograms bounds how many are used at once: each takes 37 KB.
const maxHistograms = 64

func newHDR() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Hour), 2) }

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hdr == nil {
		h.hdr = newHDR()
	}
	_ = h.hdr.RecordValue(int64(min(max(d, 0), time.Hour))) // which is in range
}

// quantile is 0 where nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	if h.hdr == nil {
		return 0
	}
	return time.Duration(h.hdr.ValueAtQuantile(100 * q))
}

func (h *histogram) merge(o *histogram) {
	if o.hdr == nil {
		return
	}
	if h.hdr == nil {
		h.hdr = newHDR()
	}
	h.hdr.Merge(o.hdr)
	h.n = h.hdr.TotalCount()
}
