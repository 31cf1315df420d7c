//go:build !unix

package serve

import "math"

// maxFiles is how many file descriptors the process may have open.
func maxFiles() int { return math.MaxInt32 }
