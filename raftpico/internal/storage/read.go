package storage

import (
	"fmt"
	"os"
)

// Reading is a log file that is open for reading alone: it is left as it is. It may be the file of a running server; what
// that appends later is not in it.
type Reading struct {
	tail
	path string
}

// Read opens the log at path for reading, and tells what it says. A torn last line is passed over, as Open would cut it.
// The caller must close it. Beside the errors of the file system it returns, wrapped, ErrFormat or a *DamageError.
func Read(fsys FS, path string) (*Reading, *State, error) { return read(fsys, path, false) }

// ReadAlone is Read that keeps servers from the file until Close. It fails with ErrLocked where one has it.
func ReadAlone(fsys FS, path string) (*Reading, *State, error) { return read(fsys, path, true) }

func read(fsys FS, path string, alone bool) (*Reading, *State, error) {
	flag := os.O_RDONLY
	if alone {
		flag = os.O_RDWR // some systems lock no other file
	}
	file, err := fsys.OpenFile(path, flag, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("storage: read: %w", err)
	}
	if alone {
		if err := file.Lock(); err != nil {
			file.Close()
			return nil, nil, fmt.Errorf("storage: read %s: %w", path, err)
		}
	}
	r := &Reading{tail{file: file}, path}
	state, err := r.load()
	if err != nil {
		if named, unsure := file.Named(path); unsure == nil && !named {
			err = errReplaced(path)
		}
		file.Close()
		return nil, nil, err
	}
	return r, state, nil
}

func (r *Reading) load() (*State, error) {
	s, state, err := scan(r.path, r.tail)
	if err != nil {
		return nil, err
	}
	if s.Lines == 0 {
		return nil, fmt.Errorf("storage: %s: %w: there is no line in it", r.path, ErrFormat)
	}
	r.tail = s.tail
	state.complete(&r.outline, s.Cut)
	return state, nil
}

// OpenState opens the state in the file's snapshot, good as long as the Reading.
func (r *Reading) OpenState() (*UserState, error) {
	if r.snapshot.Index == 0 {
		return nil, errNoSnapshot
	}
	return r.openState(staysOpen{r.file})
}

// Close lets go of the file.
func (r *Reading) Close() error { return r.file.Close() }

// staysOpen is a file that somebody else closes.
type staysOpen struct{ File }

func (staysOpen) Close() error { return nil }

func errReplaced(path string) error {
	return fmt.Errorf("storage: %s was replaced by a newer file while it was read; read that", path)
}
