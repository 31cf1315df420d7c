//go:build !unix

package jsonrpc

import "math"

// maxFiles knows no limit here.
func maxFiles() int { return math.MaxInt32 }

// outOfFiles knows no such error here.
func outOfFiles(error) bool { return false }
