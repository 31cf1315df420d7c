package memfs

import (
	"errors"
	"io"

	"github.com/raftpico/go/raftpico/internal/storage"
)

// file is a handle.
type file struct {
	fs       *FS
	node     *inode
	name     string
	boot     int
	writable bool
	closed   bool
}

// begin locks the file system for one call on the handle.
func (f *file) begin(op Op) (end func(), err error) {
	f.fs.mu.Lock()
	switch {
	case f.closed || f.boot != f.fs.boots || !f.writable && (op == Write || op == Truncate):
		err = errClosed
	default:
		err = f.fs.check(op)
	}
	return f.fs.mu.Unlock, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	end, err := f.begin(Read)
	defer end()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of p where it fails, and as much as there is room for on a full disk. As an os.File, it does not tell how much.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	end, err := f.begin(Write)
	defer end()
	if errors.Is(err, errClosed) || errors.Is(err, ErrPowerOff) {
		return 0, err
	}
	if err != nil {
		p = p[:len(p)/2]
	}
	grown := off + int64(len(p)) - int64(len(f.node.data))
	if space := f.fs.space; space >= 0 && grown > space {
		p = p[:max(0, int64(len(p))-(grown-space))]
		grown, err = space, ErrNoSpace
	}
	if f.fs.space >= 0 {
		f.fs.space -= max(0, grown)
	}
	if n := int(off) + len(p) - len(f.node.data); n > 0 {
		f.node.data = append(f.node.data, make([]byte, n)...)
	}
	n := copy(f.node.data[off:], p)
	f.node.dirty.add(int(off), n)
	if err == nil {
		err = f.fs.cut()
	}
	if err != nil {
		n = 0
	}
	return n, err
}

func (f *file) Truncate(size int64) error {
	end, err := f.begin(Truncate)
	defer end()
	if err != nil {
		return err
	}
	n := f.node
	grow := int(size) - len(n.data)
	if grow > 0 {
		n.data = append(n.data, make([]byte, grow)...)
	} else if f.fs.space >= 0 {
		f.fs.space -= int64(grow)
	}
	n.data, n.low = n.data[:size], min(n.low, int(size))
	n.dirty.from, n.dirty.to = min(n.dirty.from, int(size)), min(n.dirty.to, int(size))
	return f.fs.cut()
}

func (f *file) Sync() error {
	end, err := f.begin(Sync)
	defer end()
	if err == nil {
		err = f.fs.cut()
	}
	n := f.node
	if err == nil {
		n.synced = n.synced[:min(n.low, len(n.synced))]
		n.synced = append(n.synced, make([]byte, len(n.data)-len(n.synced))...) // a hole, where a Sync has failed
		copy(n.synced[n.dirty.from:n.dirty.to], n.data[n.dirty.from:])
		n.low = len(n.data)
	}
	if !errors.Is(err, errClosed) && !errors.Is(err, ErrPowerOff) {
		n.dirty = span{}
	}
	return err
}

// WriteOut implements storage.File. It is no change: whatever it hands to the disk, a crash may take it.
func (f *file) WriteOut(_, _ int64, _ bool) error { return nil }

// Reserve implements storage.File.
func (f *file) Reserve(_, _ int64) error { return nil }

// Free implements storage.File.
func (f *file) Free(offset, size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for _, node := range f.fs.live {
		if node == f.node {
			return errNamed
		}
	}
	for _, data := range [][]byte{f.node.data, f.node.synced} {
		if n := int64(len(data)); offset < n {
			clear(data[offset:min(offset+size, n)])
		}
	}
	return nil
}

// Named implements storage.File.
func (f *file) Named(name string) (bool, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.live[f.fs.follow(name)] == f.node, nil
}

func (f *file) Lock() error {
	end, err := f.begin(Lock)
	defer end()
	if err != nil {
		return err
	}
	if f.node.owner != nil && f.node.owner != f || f.fs.live[f.name] != f.node {
		return storage.ErrLocked
	}
	f.node.owner = f
	return nil
}

func (f *file) Size() (int64, error) {
	end, err := f.begin(Read)
	defer end()
	return int64(len(f.node.data)), err
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed || f.boot != f.fs.boots {
		return errClosed
	}
	f.closed = true
	if f.node.owner == f {
		f.node.owner = nil
	}
	return nil
}
