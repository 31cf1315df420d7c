//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package storage

import (
	"os"
	"syscall"
)

// lockFile takes the file's advisory lock without waiting. The kernel drops it with the handle, also of a killed process.
func lockFile(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return ErrLocked
		default:
			return os.NewSyscallError("flock", err)
		}
	}
}

func openDir(dir string) (Dir, error) { return os.Open(dir) }

// othersFile tells whether this process may not replace a file in a folder with the sticky bit: only who owns one of
// them may, and root.
func othersFile(file, dir os.FileInfo) bool {
	user := os.Geteuid()
	for _, info := range []os.FileInfo{file, dir} {
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) == user {
			return false
		}
	}
	return user != 0
}
