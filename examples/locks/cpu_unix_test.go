//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpu is the time that this process has had from the processors.
func cpu() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
