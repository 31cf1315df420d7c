// Package storage keeps a server's log in one file of JSON Lines.
//
// # The file
//
// A line is a record of package wire with a crc as its last member:
//
//	{"Header":{"format":1,"instance":"k3x9"},"crc":"75788e24"}
//
// The crc is eight lower-case hex digits: CRC-32C (Castagnoli) over the crc of the line before, as four bytes,
// big-endian, zero for the first line, and this line's bytes before `,"crc"`. So a lost or moved line shows too.
//
// One line is what one Raft Ready made durable, and is one write, or several of a long one, and one fsync. Hence only the last
// line can be torn by a crash, and Open cuts it (see torn). Every other fault is damage, which may have cost acknowledged data, and is
// refused (see [DamageError]).
//
// Behind its last newline the file of a running server may have room: tabs, over which the next lines are written. No line
// holds a tab, since strings escape it and white space is left out, and whoever reads JSON passes over them.
//
// The first line is the header; an identity comes once, before any Raft state. A hard state never goes back. Entries
// replace what stood behind their prev, but nothing committed, and never come without a hard state; a snapshot replaces
// the whole log, and the first entries behind it may begin below it (trailing entries). See outline for these rules:
// Append keeps them as well.
//
// # Replacement
//
// A snapshot goes into a new file, PATH.new, which is renamed over the old one when it is whole and durable. See
// [Replacement].
//
// # Names
//
// A symbolic link to the file stays one: PATH is the file's own name, see [FS]. A hard link is no copy while the log is
// in use: it changes with it until the next replacement, and stays as it was from then on. No room is given back of a
// file that still has a name. A file that loses its name, or is changed by somebody else, ends its log; see
// [Log.Check].
package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Log is an open log file. Owner: the event loop. Nothing here locks.
type Log struct {
	tail
	fs    FS
	name  string // by which the user knows the file, in full; may be a symbolic link
	path  string // its own name, see FS.Locate
	dir   Dir    // of the file; open all the time: when a rename waits for its sync, there may be no descriptor left
	place *place // of the file
	room  room
	syncs uint64
	next  *Replacement   // that owns the name PATH.new, nil if none
	news  []*wire.Record // appended since it was begun, or since it was told last
	hurry atomic.Bool    // see Hurry
	err   error          // why the log is dead
}

// Append makes r durable as one line. It keeps nothing of r but, while a Replacement is under way, the data of its entries, which
// must not change. After an error nobody knows what the disk holds, so the log is dead: this and every later call return that error.
func (l *Log) Append(r *wire.Record) error {
	if l.err != nil {
		return l.err
	}
	var err error
	if inPieces(r) {
		err = l.appendLong(r)
	} else {
		err = l.appendShort(r)
	}
	if err == nil {
		err = l.sync()
	}
	if err != nil {
		l.err = fmt.Errorf("storage: append to %s: %w", l.path, err)
		return l.err
	}
	l.note(r)
	return nil
}

func (l *Log) appendShort(r *wire.Record) error {
	line, err := l.seal(r)
	if err == nil {
		err = l.whole()
	}
	if err == nil {
		l.reserve(l.size-int64(len(line)), l.size)
		err = l.put(line)
	}
	if err == nil {
		l.makeRoom(int64(len(line)))
	}
	return err
}

// appendLong does so for a line that goes to the file piece by piece.
func (l *Log) appendLong(r *wire.Record) error {
	err := l.add(r)
	if err == nil {
		err = l.whole()
	}
	if err != nil {
		return err
	}
	l.reserve(l.size, l.size+int64(wire.SizeOf(r)))
	err = l.writeLong(r)
	l.room.rested = l.size
	return err
}

// Hurry has files that are freed in steps be closed at once from now on: their owner ends. It may be called on any goroutine.
func (l *Log) Hurry() { l.hurry.Store(true) }

// Err tells why the log is dead, nil if it is not. A Commit can fail with or without that.
func (l *Log) Err() error { return l.err }

// Size is that of the file's lines, in bytes.
func (l *Log) Size() int64 { return l.size }

// SnapshotSize is the length of the file's snapshot line in bytes, 0 without one.
func (l *Log) SnapshotSize() int64 { return l.snapshotSize }

// SinceSnapshot counts the bytes behind the snapshot's line, in a file without one all.
func (l *Log) SinceSnapshot() int64 { return l.size - l.snapshotEnd }

// Syncs counts the fsyncs of this log since it was opened.
func (l *Log) Syncs() uint64 { return l.syncs }

// Close lets go of the file. Everything in it is durable already.
func (l *Log) Close() error {
	if l.next != nil {
		l.Abort(l.next)
	}
	if l.err == nil {
		l.cutRoom()
		l.err = fmt.Errorf("storage: %s: %w", l.path, os.ErrClosed)
	}
	return errors.Join(l.file.Close(), l.dir.Close())
}

// reserve keeps room for a line and ahead of the log: a sync that need not find new blocks has less to write to the file
// system's journal. More for a longer file; if there is none, the write will tell.
func (l *Log) reserve(line, end int64) {
	if end <= max(l.reserved, l.room.end) {
		return
	}
	ahead := min(max(end/4, 64<<10), 16<<20)
	from := max(l.reserved, line) // not what a new file has already: to go through a gigabyte takes long
	_ = l.file.Reserve(from, end+ahead-from)
	l.reserved = end + ahead // also where it failed, so as not to try with every line
}

func (l *Log) sync() error {
	l.syncs++
	return l.file.Sync()
}

func (l *Log) syncDir() error {
	l.syncs++
	return l.dir.Sync()
}

// tail is where a log file ends: what the next line is checked against, chained and written to.
type tail struct {
	outline
	file         File
	size         int64 // bytes so far: the next line's offset
	crc          uint32
	snapshotSize int64
	snapshotEnd  int64   // offset
	reserved     int64   // offset up to which there is room on the disk
	state        section // of the snapshot's line: the user's state
	buf          []byte
}

var errNewline = errors.New("a newline inside a record")

// maxKept bounds, in bytes, the buffer that is kept from line to line.
const maxKept = 1 << 20

// seal checks r, counts it, and returns its line, in the tail's memory.
func (t *tail) seal(r *wire.Record) ([]byte, error) {
	line, err := wire.AppendRecord(slices.Grow(t.buf[:0], wire.SizeOf(r)), r)
	if err != nil {
		return nil, err
	}
	body := line[:len(line)-1] // without the brace, as behind it comes the crc
	if bytes.IndexByte(body, '\n') >= 0 {
		return nil, errNewline
	}
	crc := Chain(t.crc, body)
	line = AppendTail(body, crc)
	if t.buf = line[:0]; cap(line) > maxKept {
		t.buf = nil
	}
	if s := r.Snapshot; s != nil {
		t.state = stateOf(body, t.size, s, t.crc, crc)
	}
	return line, t.take(r, crc, int64(len(line)))
}

// write seals and puts.
func (t *tail) write(r *wire.Record) error {
	if s := r.Snapshot; s != nil && *r == (wire.Record{Snapshot: s}) {
		return t.writeSnapshot(s, func(w io.Writer) error {
			_, err := w.Write(s.Machines.User)
			return err
		})
	}
	if inPieces(r) {
		if err := t.add(r); err != nil {
			return err
		}
		return t.writeLong(r)
	}
	line, err := t.seal(r)
	if err != nil {
		return err
	}
	return t.put(line)
}

// put writes the line just sealed.
func (t *tail) put(line []byte) error {
	return writeAt(t.file, line, t.size-int64(len(line)))
}

func writeAt(file File, b []byte, offset int64) error {
	n, err := file.WriteAt(b, offset)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// take counts a line that is in the file or about to be.
func (t *tail) take(r *wire.Record, crc uint32, length int64) error {
	if err := t.add(r); err != nil {
		return err
	}
	t.size += length
	t.crc = crc
	if r.Snapshot != nil {
		t.snapshotSize, t.snapshotEnd = length, t.size
	}
	return nil
}
