package main

import (
	"os"
	"syscall"
	"time"
)

// orphans lets a child end with its parent.
func orphans() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// sleepUntil waits until t, to some 0.1 ms: a Go program that is idle wakes up to 1 ms late.
func sleepUntil(t time.Time) {
	if d := time.Until(t); d > 0 {
		ts := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&ts, nil) // if it is interrupted, the operation is early
	}
}
