package loop_test

import (
	"os"
	"sync"
	"time"

	"github.com/raftpico/go/raftpico/internal/storage"
)

// badDisk is a file system whose files sync only after something else: it may take long, and fail.
type badDisk struct {
	storage.FS
	before func() error
}

func (f *badDisk) OpenFile(name string, flag int, perm os.FileMode) (storage.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return &badFile{file, f.before}, err
}

type badFile struct {
	storage.File
	before func() error
}

func (f *badFile) Sync() error {
	if err := f.before(); err != nil {
		return err
	}
	return f.File.Sync()
}

// frozen is a disk whose syncs hang while ice is locked.
type frozen struct {
	badDisk
	ice sync.RWMutex
}

func newFrozen() *frozen {
	f := &frozen{badDisk: badDisk{FS: storage.OS}}
	f.before = func() error {
		f.ice.RLock()
		defer f.ice.RUnlock()
		return nil
	}
	return f
}

// newSlow is a disk whose syncs take 2 ms, and fail where err says so.
func newSlow(err func() error) *badDisk {
	return &badDisk{storage.OS, func() error { time.Sleep(2 * time.Millisecond); return err() }}
}
