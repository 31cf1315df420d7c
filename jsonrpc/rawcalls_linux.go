//go:build linux && !race

package jsonrpc

import (
	"syscall"
	"unsafe"
)

// readNow is read(2) of a socket that does not block, and writeNow is write(2).
//
// NB: They go past Go's scheduler. That would wake its monitor thread up, for a call that may take long: a quarter of all that
// an idle server does. The race detector is told nothing by them, so with it they are not used.
func readNow(fd uintptr, p []byte) (int, error) { return callNow(syscall.SYS_READ, fd, p) }

func writeNow(fd uintptr, p []byte) (int, error) { return callNow(syscall.SYS_WRITE, fd, p) }

func callNow(call, fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
