package storage

import (
	"errors"
	"fmt"
	"os"
)

// Inspect reads a log file and changes nothing. It may be the file of a running server: then the last line may be one
// that is being written, and look torn. Each line goes to fn, whose error ends the reading.
func Inspect(fsys FS, path string, fn func(*Line) error) (Report, error) {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return Report{}, fmt.Errorf("storage: inspect: %w", err)
	}
	defer file.Close()
	s, err := newScanner(path, tail{file: file})
	if err != nil {
		return Report{}, err
	}
	if err = s.run(fn); err != nil || s.Refused == nil {
		return s.Report, err
	}
	if named, err := file.Named(path); err != nil || !named {
		return s.Report, errors.Join(err, errReplaced(path))
	}
	return s.Report, nil
}
