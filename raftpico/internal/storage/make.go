package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Make makes a log file that is whole from the start, for an instance: fill writes what comes behind the header. There
// must be nothing at path, and after an error there is nothing. When it returns nil, file and name are durable.
func Make(fsys FS, path, instance string, fill func(*Replacement) error) error {
	file, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("storage: make a log: %w", err)
	}
	r := &Replacement{tail: tail{file: file}, path: path, anew: true}
	err = r.Write(&wire.Record{Header: &wire.Header{Format: wire.Format, Instance: instance}})
	if err == nil {
		err = fill(r)
	}
	if err == nil {
		err = r.wrap(r.whole())
	}
	if err == nil {
		err = r.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = SyncDir(fsys, filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(path))
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func SyncDir(fsys FS, name string) error {
	dir, err := fsys.OpenDir(name)
	if err != nil {
		return fmt.Errorf("storage: open a folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
