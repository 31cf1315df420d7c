package storage

import (
	"errors"
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

// writeOut hands part of a file to the disk, or waits for it. Unlike a sync, it neither commits the file system's
// journal, for which the syncs of other files would wait, nor empties the disk's cache.
func writeOut(f *os.File, offset, size int64, wait bool) error {
	flags := write
	if wait {
		flags |= waitBefore | waitAfter
	}
	for {
		err := syscall.SyncFileRange(int(f.Fd()), offset, size, flags)
		switch err {
		case syscall.EINTR:
		case syscall.ESPIPE, syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP: // not here, then
			if !wait {
				return nil
			}
			return syncData(f)
		default:
			return os.NewSyscallError("sync_file_range", err)
		}
	}
}

var errNamed = errors.New("a name still leads to the file")

// The flags of fallocate(2).
const (
	keepSize  = 1
	punchHole = 2
)

// reserve allocates blocks behind a file's end.
func reserve(f *os.File, offset, size int64) error {
	return os.NewSyscallError("fallocate", syscall.Fallocate(int(f.Fd()), keepSize, offset, size))
}

// punch makes a hole in a file that has no name any more. Nobody can give it a new one meanwhile: link(2) refuses a
// file without names. What is left uncovered are network file systems that answer fstat from a cache.
func punch(f *os.File, offset, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Nlink != 0 {
		return errNamed
	}
	return os.NewSyscallError("fallocate", syscall.Fallocate(int(f.Fd()), keepSize|punchHole, offset, size))
}
