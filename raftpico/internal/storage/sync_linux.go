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

// The flags of sync_file_range(2).
const (
	waitBefore = 1
	write      = 2
	waitAfter  = 4
)

// writeOut hands part of a file to the disk. Unlike a sync, it neither commits the file system's journal, for which the
// syncs of other files would wait, nor empties the disk's cache.
func writeOut(f *os.File, offset, size int64) error {
	for {
		err := syscall.SyncFileRange(int(f.Fd()), offset, size, waitBefore|write|waitAfter)
		switch err {
		case syscall.EINTR:
		case syscall.ESPIPE, syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP: // not here, then
			return syncData(f)
		default:
			return os.NewSyscallError("sync_file_range", err)
		}
	}
}
