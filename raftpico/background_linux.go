package raftpico

import (
	"runtime"
	"syscall"
)

// inBackground gives the goroutine a thread of its own, which the system runs when the event loop's does not want to. The
// thread ends with the goroutine.
func inBackground() {
	runtime.LockOSThread()                                             // for good
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), 5) // on Linux, of a thread. Without it all is as before
}
