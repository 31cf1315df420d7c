//go:build !linux

package storage

import (
	"errors"
	"os"
)

// syncData makes a file's content and size durable (on macOS down to the platter: os.File.Sync asks for F_FULLFSYNC).
func syncData(f *os.File) error { return f.Sync() }

// writeOut waits until the disk has the file: the whole of it, for want of something better.
func writeOut(f *os.File, _, _ int64, wait bool) error {
	if !wait {
		return nil
	}
	return syncData(f)
}

// reserve would allocate blocks behind a file's end.
func reserve(*os.File, int64, int64) error { return errors.ErrUnsupported }

// punch would make a hole in a file.
func punch(*os.File, int64, int64) error { return errors.ErrUnsupported }
