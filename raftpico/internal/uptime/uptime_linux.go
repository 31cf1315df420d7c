// Package uptime is the clock of leases: how long the machine has been up, with the time for which it was suspended. Nobody sets
// it, and it is the same for all processes of a machine.
package uptime

import (
	"syscall"
	"time"
	"unsafe"
)

const clockBoottime = 7

// Now is how long the machine has been up. It reports false where no such clock is known: wherever it has once reported true, it
// goes on to do so.
func Now() (d time.Duration, ok bool) {
	if d, ok = quick(); ok {
		return d, true
	}
	return ask()
}

// ask asks the system. It never waits, so the call goes past Go's scheduler.
func ask() (d time.Duration, ok bool) {
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano()), errno == 0
}
