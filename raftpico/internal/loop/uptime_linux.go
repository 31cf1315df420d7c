package loop

import (
	"syscall"
	"time"
	"unsafe"
)

// uptime is how long the machine has been up, with the time for which it was suspended. NB: It is looked at for each query
// under a lease, so the call goes past Go's scheduler: it never waits.
func uptime() (d time.Duration, ok bool) {
	const clockBoottime = 7
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano()), errno == 0
}
