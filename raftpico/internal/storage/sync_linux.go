package storage

import (
	"os"
	"syscall"
)

// syncData makes a file's content and size durable. Fdatasync spares the journal commit for times that nobody reads.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
