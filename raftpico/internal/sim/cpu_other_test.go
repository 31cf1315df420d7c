//go:build !unix

package sim

import "time"

var start = time.Now()

// cpuTime is the time that has passed: what this process has used of it is not known here.
func cpuTime() time.Duration { return time.Since(start) }
