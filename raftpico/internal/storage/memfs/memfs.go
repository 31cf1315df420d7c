// Package memfs is a file system in memory that does what disks do: it forgets what was not synced, tears and reorders
// it, fails, fills up and flips bits. It repeats exactly for one seed.
//
// NB: as on Linux, a failed Sync makes the file pass for clean, so the next one succeeds without writing anything.
//
// What is visible and what is durable are two things. A write is visible at once; Sync makes a file's content durable,
// SyncDir a directory's names. Crash lets go of everything in between, in one of the ways in which real ones do.
package memfs

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/raftpico/go/raftpico/internal/storage"
)

// FS is a storage.FS. Its methods may be called from any goroutine. The zero value is not ready: see New.
type FS struct {
	mu      sync.Mutex
	live    map[string]*inode // names as they are seen
	durable map[string]*inode // names as a crash would leave them
	journal []change          // from durable to live, in order
	boots   int               // crashes and kills so far: handles of before one are dead
	faults
}

// inode is a file, whatever its names.
type inode struct {
	data   []byte // as it is seen
	synced []byte // as it is on the disk
	link   string // of a symbolic link, whereto
	dirty  span   // of data, which the next Sync writes: all else is on the disk, or the Sync before it failed
	low    int    // the least size since the last Sync: what was behind it may be gone
	owner  *file  // that locked it
}

// span is data[from:to].
type span struct{ from, to int }

// add takes n bytes in, and what is between.
func (s *span) add(from, n int) {
	if s.from == s.to {
		*s = span{from, from}
	}
	s.from, s.to = min(s.from, from), max(s.to, from+n)
}

// change is one name: given to a file, or taken away (nil). A rename is two that hold together.
type change struct {
	name, gone string // gone: the old name of a rename
	node       *inode
}

// New returns an empty file system. Every directory exists.
func New() *FS {
	return &FS{live: map[string]*inode{}, durable: map[string]*inode{}, faults: faults{space: -1, power: -1}}
}

var _ storage.FS = (*FS)(nil)

// OpenFile opens a file by os flags; O_APPEND is not known.
func (f *FS) OpenFile(name string, flag int, _ os.FileMode) (storage.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if flag&os.O_EXCL == 0 {
		name = f.follow(name)
	}
	node := f.live[name]
	switch {
	case node != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case node == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err := f.check(Open); err != nil {
		return nil, err
	}
	if node == nil {
		node = new(inode)
		f.change(change{name: name, node: node})
	}
	if flag&os.O_TRUNC != 0 {
		node.data, node.dirty, node.low = nil, span{}, 0
	}
	return &file{fs: f, node: node, name: name, boot: f.boots, writable: flag&(os.O_RDWR|os.O_WRONLY) != 0}, nil
}

// Rename gives a file another name, in one step also across a crash.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.live[from]
	if node == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if err := f.check(Rename); err != nil {
		return err
	}
	f.change(change{name: to, gone: from, node: node})
	return f.cut()
}

// Remove takes a name away.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err := f.check(Remove); err != nil {
		return err
	}
	f.change(change{name: name})
	return f.cut()
}

// SyncDir makes the names in dir durable.
func (f *FS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(SyncDir); err != nil {
		return err
	}
	if err := f.cut(); err != nil {
		return err
	}
	f.journal = slices.DeleteFunc(f.journal, func(c change) bool {
		in := filepath.Dir(c.name) == filepath.Clean(dir)
		if in {
			c.apply(f.durable)
		}
		return in
	})
	return nil
}

// OpenDir implements storage.FS.
func (f *FS) OpenDir(name string) (storage.Dir, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return dir{f, name, f.boots}, nil
}

type dir struct {
	fs   *FS
	name string
	boot int
}

func (d dir) Sync() error {
	d.fs.mu.Lock()
	dead := d.boot != d.fs.boots
	d.fs.mu.Unlock()
	if dead {
		return errClosed
	}
	return d.fs.SyncDir(d.name)
}

func (d dir) Close() error { return nil }

// Crash cuts the power and turns it on again. Of the names a beginning of what was not synced survives; of a file's
// content all, nothing, a beginning, or any of its sectors. Every handle from before is dead, every lock gone; faults
// that were ordered and did not come are forgotten.
func (f *FS) Crash(rng *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.journal[:rng.IntN(len(f.journal)+1)] {
		c.apply(f.durable)
	}
	f.live, f.journal, f.boots, f.faults = maps.Clone(f.durable), nil, f.boots+1, faults{space: f.space, power: -1}
	for _, name := range slices.Sorted(maps.Keys(f.live)) {
		if node := f.live[name]; node.link == "" {
			*node = *newInode(survivor(rng, node))
		}
	}
}

// Kill ends the process, with the power on: what was written is there, synced or not. Handles are dead, locks gone.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boots++
	for _, node := range f.live {
		node.owner = nil
	}
}

const sector = 512

// survivor is what a crash leaves of a file.
func survivor(rng *rand.Rand, node *inode) []byte {
	synced, data := node.synced, node.data
	same := 0
	if bytes.HasPrefix(data, synced) { // the usual case, and files may be long
		same = len(synced)
	}
	for same < min(len(synced), len(data)) && synced[same] == data[same] {
		same++
	}
	switch rng.IntN(4) {
	case 0:
		return slices.Clone(synced)
	case 1:
		return slices.Clone(data)
	case 2: // the write came this far
		at := same + rng.IntN(len(data)-same+1)
		out := slices.Clone(data[:at])
		if at < len(synced) {
			out = append(out, synced[at:]...)
		}
		return out
	}
	low, high := min(len(synced), len(data), node.low), max(len(synced), len(data))
	out := make([]byte, low+rng.IntN(high-low+1))
	if rng.IntN(2) == 0 {
		out = make([]byte, len(data))
	}
	copy(out, synced)
	for at := same / sector * sector; at < len(out); at += sector {
		end := min(at+sector, len(out))
		switch {
		case at < len(data) && rng.IntN(2) == 0:
			copy(out[at:end], data[at:])
		case node.low < end && rng.IntN(2) == 0: // it was cut there, and what came then is lost
			clear(out[max(at, node.low):end])
		}
	}
	return out
}

// ReadFile returns what a file shows.
func (f *FS) ReadFile(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if node := f.live[f.follow(name)]; node != nil {
		return slices.Clone(node.data), nil
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

// WriteFile puts a durable file there.
func (f *FS) WriteFile(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = f.follow(name)
	node := newInode(slices.Clone(data))
	f.live[name], f.durable[name] = node, node
}

// Symlink makes name a symbolic link to target, a full name, durable at once.
func (f *FS) Symlink(target, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := &inode{link: target}
	f.live[name], f.durable[name] = node, node
}

// Locate implements storage.FS.
func (f *FS) Locate(name string) (full, own string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return name, f.follow(name), nil
}

// follow follows symbolic links. It has no end where they have none.
func (f *FS) follow(name string) string {
	for f.live[name] != nil && f.live[name].link != "" {
		name = f.live[name].link
	}
	return name
}

// Link gives a file one more name, durable at once.
func (f *FS) Link(name, more string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live[more], f.durable[more] = f.live[name], f.live[name]
}

// Flip flips a durable bit: of the byte at bit/8 the one of value 1<<(bit%8). It panics where the file has none.
func (f *FS) Flip(name string, bit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.live[name]
	node.data[bit/8] ^= 1 << (bit % 8)
	node.synced[bit/8] ^= 1 << (bit % 8)
}

func (f *FS) change(c change) {
	c.apply(f.live)
	f.journal = append(f.journal, c)
}

func (c change) apply(names map[string]*inode) {
	delete(names, c.gone)
	if c.node == nil {
		delete(names, c.name)
		return
	}
	names[c.name] = c.node
}

func newInode(data []byte) *inode {
	return &inode{data: data, synced: slices.Clone(data), low: len(data)}
}

var (
	errClosed = errors.New("memfs: the handle is closed, of before a crash, or for reading only")
	errNamed  = errors.New("memfs: a name leads to the file")
)
