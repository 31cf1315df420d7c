package main

import (
	"errors"
	"fmt"
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
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: another command writes it, or it is left from one that was killed; then delete it", part)
	}
	if err != nil {
		return err
	}
	err = fill(out)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = name(part, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if dir, err := os.Open(filepath.Dir(file)); err == nil {
		_ = dir.Sync() // not all systems can
		_ = dir.Close()
	}
	return nil
}

var hardLink = os.Link // a test stands for a file system without hard links

// name gives a file its name, under which there must be none. A link replaces nothing, as a rename would.
func name(part, file string) error {
	err := hardLink(part, file)
	switch {
	case err == nil:
		return os.Remove(part)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	own, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600) // so that nobody else's is replaced
	if err != nil {
		return err
	}
	return errors.Join(own.Close(), os.Rename(part, file))
}
