//go:build unix

package torture

import (
	"os"
	"sync"
	"time"
)

// canary tells how crowded the machine is: by how much a goroutine that wants to wake up every few milliseconds is late, or how
// long the disk takes for a byte.
type canary struct {
	stop chan struct{}
	both sync.WaitGroup
	mu   sync.Mutex
	late time.Duration
}

// startCanary starts one with a file of its own, on the servers' disk.
func startCanary(file string) (*canary, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	c := &canary{stop: make(chan struct{})}
	c.both.Go(func() { // ends with end
		c.every(5*time.Millisecond, func() {})
	})
	c.both.Go(func() { // ends with end
		defer f.Close()
		c.every(50*time.Millisecond, func() {
			_, _ = f.Write([]byte("."))
			_ = f.Sync()
		})
	})
	return c, nil
}

// every does something again and again, and notes how late it is.
func (c *canary) every(beat time.Duration, f func()) {
	for {
		began := time.Now()
		select {
		case <-c.stop:
			return
		case <-time.After(beat):
		}
		f()
		c.mu.Lock()
		c.late = max(c.late, time.Since(began)-beat)
		c.mu.Unlock()
	}
}

// end returns the most it was late.
func (c *canary) end() time.Duration {
	close(c.stop)
	c.both.Wait()
	return c.late
}
