//go:build unix

package torture

import "time"

// canary tells how crowded the machine is: by how much a goroutine that wants to wake up every few milliseconds is late.
type canary struct {
	stop chan struct{}
	late chan time.Duration
}

func startCanary() canary {
	c := canary{make(chan struct{}), make(chan time.Duration, 1)}
	go func() { // ends with end
		const beat = 5 * time.Millisecond
		var late time.Duration
		for {
			began := time.Now()
			select {
			case <-c.stop:
				c.late <- late
				return
			case <-time.After(beat):
				late = max(late, time.Since(began)-beat)
			}
		}
	}()
	return c
}

// end returns the most it was late.
func (c canary) end() time.Duration {
	close(c.stop)
	return <-c.late
}
