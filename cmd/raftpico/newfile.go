package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// partSuffix is that of a file that is being written.
const partSuffix = ".part"

// writeNew makes a file of what fill writes. There must be none yet. It gets its name when it is whole and durable; after an
// error there is no file.
func writeNew(file string, fill func(io.Writer) error) error {
	if _, err := os.Lstat(file); err == nil {
		return &fs.PathError{Op: "make", Path: file, Err: fs.ErrExist}
	}
	part := file + partSuffix
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = fill(out)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Link(part, file) // unlike a rename it replaces nothing
	}
	if err = errors.Join(err, os.Remove(part)); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(file)); err == nil {
		_ = dir.Sync() // not all systems can
		_ = dir.Close()
	}
	return nil
}
