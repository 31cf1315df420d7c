package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Floor is what the disk itself can do: appends of so many bytes, each followed by fdatasync, by some writers at once,
// each in a file of its own.
type Floor struct {
	Writers int
	Bytes   int
	Rate    float64 // appends a second, each writer
	P50     time.Duration
	P99     time.Duration
}

func measureFloor(dir string, writers, size int, d time.Duration) (Floor, error) {
	f := Floor{Writers: writers, Bytes: size}
	took := make([]histogram, writers)
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			errs[i] = appendFor(filepath.Join(dir, fmt.Sprint("floor-", i)), size, d, &took[i])
		})
	}
	all.Wait()
	var sum histogram
	for i := range took {
		if errs[i] != nil {
			return f, errs[i]
		}
		sum.merge(&took[i])
	}
	f.Rate = float64(sum.n) / d.Seconds() / float64(writers)
	f.P50, f.P99 = sum.quantile(0.5), sum.quantile(0.99)
	return f, nil
}

func appendFor(name string, size int, d time.Duration, took *histogram) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	defer file.Close()
	b := make([]byte, size)
	for i := range b {
		b[i] = 'x'
	}
	for began := time.Now(); time.Since(began) < d; {
		start := time.Now()
		if _, err := file.Write(b); err != nil {
			return err
		}
		if err := syncData(file); err != nil {
			return err
		}
		took.add(time.Since(start))
	}
	return nil
}
