//go:build unix

package serve

import (
	"math"
	"syscall"
)

// maxFiles is how many file descriptors the process may have open.
func maxFiles() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return math.MaxInt32
	}
	return int(min(uint64(r.Cur), math.MaxInt32)) // NB: the type of Cur differs between systems
}
