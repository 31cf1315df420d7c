package storage

import (
	"errors"
	"io"
	"os"
)

// ErrLocked says that another process, or another Log of this one, has the file open.
var ErrLocked = errors.New("the file is in use by another server")

// FS is what the log needs of a file system. OS is the real one; package memfs has one that loses and tears data.
type FS interface {
	// Locate finds the file that name leads to, which need not be there yet: own is its own name, of which no part is a
	// symbolic link, so that a rename to it replaces the file and no link. full is name, good in any working directory.
	// It fails where no log can be kept.
	Locate(name string) (full, own string, err error)
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	OpenDir(dir string) (Dir, error)
}

// Dir is an open folder.
type Dir interface {
	io.Closer
	Sync() error // makes names created, renamed and removed in it durable
}

// File is an open file. It has no position: every access names its offset, so a reader disturbs no writer.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error // makes content and size durable
	// WriteOut hands that part of the content to the disk, or waits until the disk has it, where the system can do so
	// without what makes a Sync dear. It promises nothing: a Sync that comes later has less to do, that is all.
	WriteOut(offset, size int64, wait bool) error
	// Reserve takes room on the disk for content that will come there, and leaves the file's size as it is. It fails where
	// the system can't, or the disk is full.
	Reserve(offset, size int64) error
	// Free gives back the room on the disk of that part of the content, which reads as zeros from then on. It fails where
	// a name still leads to the file, which may be somebody's copy (ln, cp -al), or where the system can't.
	Free(offset, size int64) error
	// Lock takes the file for this handle until Close. It fails with ErrLocked where another handle has it, or where
	// the name under which the file was opened leads to another file by now.
	Lock() error
	// Named tells whether name leads to the file. The error says that it can't be told.
	Named(name string) (bool, error)
}

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error    { return os.Rename(from, to) }
func (osFS) Remove(name string) error        { return os.Remove(name) }
func (osFS) OpenDir(dir string) (Dir, error) { return openDir(dir) }

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

func (f osFile) WriteOut(offset, size int64, wait bool) error {
	return writeOut(f.File, offset, size, wait)
}

func (f osFile) Reserve(offset, size int64) error { return reserve(f.File, offset, size) }

func (f osFile) Free(offset, size int64) error { return punch(f.File, offset, size) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Lock() error {
	if err := lockFile(f.File); err != nil {
		return err
	}
	// Between our open and our lock the owner may have replaced the file and gone: then we hold what no name leads to.
	named, err := f.Named(f.Name())
	if err == nil && !named {
		err = ErrLocked
	}
	return err
}
