package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// State is what a log file says when it is opened. The log keeps nothing of it.
type State struct {
	Header   wire.Header
	Identity *wire.Identity // nil: the server belongs to no cluster
	Snapshot *wire.Snapshot // nil: none; without the user's state, see Log.OpenState
	// HardState has a commit of at least the snapshot's index.
	HardState wire.HardState
	// Prev is the place before the first entry. It may lie below the snapshot: then trailing entries come first.
	Prev    wire.EntryID
	Entries []*raftpb.Entry
	Cut     int64 // bytes of a torn last line that were cut, without the room behind it
}

// Open opens the log at path, or creates it, for the instance given, if there is none. The caller owns the log and
// must close it. Beside the errors of the file system it returns, wrapped, ErrLocked, ErrFormat or a *DamageError.
func Open(fsys FS, path, instance string) (*Log, *State, error) {
	name, own, err := fsys.Locate(path)
	if err != nil {
		return nil, nil, fmt.Errorf("storage: open %s: %w", path, err)
	}
	dir, err := fsys.OpenDir(filepath.Dir(own))
	if err != nil {
		return nil, nil, fmt.Errorf("storage: open %s: %w", path, err)
	}
	file, err := fsys.OpenFile(own, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		dir.Close()
		return nil, nil, fmt.Errorf("storage: open %s: %w", path, err)
	}
	l := &Log{fs: fsys, name: name, path: own, dir: dir, tail: tail{file: file}}
	l.place = &place{file: file, hurry: &l.hurry, used: 1}
	state, err := l.load(instance)
	if err != nil {
		file.Close()
		dir.Close()
		return nil, nil, err
	}
	return l, state, nil
}

func (l *Log) load(instance string) (*State, error) {
	if err := l.settle(); err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", l.path, err)
	}
	s, state, err := scan(l.name, l.tail)
	if err != nil {
		return nil, err
	}
	l.tail = s.tail
	if err := l.mend(s, instance); err != nil {
		return nil, fmt.Errorf("storage: mend %s: %w", l.path, err)
	}
	l.room.rested = l.size
	state.complete(&l.outline, s.Cut)
	return state, nil
}

// scan reads a file from its start. An error is of the reading, or why the file is refused.
func scan(path string, t tail) (*scanner, *State, error) {
	state := new(State)
	s, err := newScanner(path, t)
	if err != nil {
		return nil, nil, err
	}
	err = s.run(func(line *Line) error {
		if line.Err == nil {
			state.fold(line.Record)
		}
		return s.Refused // the rest may be gigabytes
	})
	if s.Refused != nil {
		return nil, nil, s.Refused
	}
	return s, state, err
}

// complete adds what the whole file tells.
func (s *State) complete(o *outline, cut int64) {
	s.Header, s.Cut = *o.header, cut
	s.HardState.Commit = o.committed()
}

// settle makes sure of the file before it is read. A killed process may have left lines, and a rename, that only the page
// cache knows: what is read must stay.
func (l *Log) settle() error {
	if err := l.file.Lock(); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	// A crash in Replace. Only now: without the lock it could be that of a running server.
	if err := l.removeNew(); err != nil {
		return err
	}
	if err := l.tryNew(); err != nil {
		return err
	}
	return l.syncDir()
}

// tryNew makes a file where each snapshot will, and removes it: that the folder can't be written is better found now
// than at the first snapshot, when every start would end.
func (l *Log) tryNew() error {
	file, err := l.createNew()
	if err != nil {
		return fmt.Errorf("no file can be made beside it, as each snapshot must: %w", err)
	}
	return errors.Join(file.Close(), l.removeNew())
}

// mend brings the file into the form in which it can go on, cutting what stands behind the last good line. That line
// is written anew: the fsync that ended the process before may have failed, after which the kernel takes its pages for
// clean though they never reached the disk, and no later sync would write them.
func (l *Log) mend(s *scanner, instance string) error {
	if s.full.size > s.End {
		if err := l.file.Truncate(s.End); err != nil {
			return err
		}
	}
	if s.Lines == 0 {
		if err := l.write(&wire.Record{Header: &wire.Header{Format: wire.Format, Instance: instance}}); err != nil {
			return err
		}
		return l.sync()
	}
	if _, err := io.Copy(io.NewOffsetWriter(l.file, s.last), io.NewSectionReader(l.file, s.last, s.End-s.last)); err != nil {
		return err
	}
	if s.unended {
		if err := l.put([]byte{'\n'}); err != nil {
			return err
		}
	}
	return l.sync()
}

func (s *State) fold(r *wire.Record) {
	if r.Identity != nil {
		s.Identity = r.Identity
	}
	if r.Snapshot != nil {
		s.Snapshot, s.Prev, s.Entries = r.Snapshot, r.Snapshot.LastIncluded, nil
	}
	if e := r.LogEntries; e != nil {
		if e.Prev.Index < s.Prev.Index {
			s.Prev = e.Prev // trailing entries, and the first: outline sees to it
		}
		keep := e.Prev.Index - s.Prev.Index
		clear(s.Entries[keep:])
		s.Entries = append(s.Entries[:keep], e.Entries...)
	}
	if r.HardState != nil {
		s.HardState = *r.HardState
	}
}
