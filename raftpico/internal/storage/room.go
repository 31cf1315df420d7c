package storage

import (
	"bytes"
	"errors"
	"io"
	"math"
)

// A sync of a file that has grown waits for the file system's journal; one of a file that was written to in place does not. So
// behind its lines a log that is at work keeps room: filler, over which the next lines are written. It is of tabs, which no line
// holds, and which those who read JSON pass over.
//
//	room <= what the lines have grown by since the log was last at rest, in lines that are not large
//
// So a log to which a line is added now and then has none, and the first line after rest costs nothing more. At rest the
// room is cut, without a sync: a crash may leave it, and nothing else. What a write does not bring is filler as it was, or
// zeros where the file was shorter, in each sector for itself: see torn.
const (
	maxRoom   = 128 << 10 // bytes of filler at once
	leastRoom = 4 << 10   // less is not worth a write
	largeLine = 64 << 10  // bytes of a line behind which there is none: with it the disk has enough to write
)

// room is what stands behind a log's lines. The zero value is none, of a log that has just been opened or made.
type room struct {
	end    int64 // the file's size, as the log has made it, if that is more than the lines
	rested int64 // where the lines ended when the log was last at rest
	looked int64 // where they ended when Log.rest was called last
	failed bool  // to write filler, since the log was last at rest
}

var filler = bytes.Repeat([]byte{'\t'}, page)

// fits tells whether the lines end in the room.
func (l *Log) fits() bool { return l.size <= l.room.end }

// made is the file's size, as the log has made it.
func (l *Log) made() int64 { return max(l.size, l.room.end) }

// makeRoom does so behind a line of n bytes that was just written, before its sync, if it has not found room itself. That
// it fails is no failure of the line. NB: It writes page by page. What is written at once, Linux may keep as one piece of up to a
// megabyte, and would count as written with each line in it, though the disk gets no more than the page.
func (l *Log) makeRoom(n int64) {
	r := &l.room
	if n > largeLine {
		r.rested = l.size
	}
	size := min(l.size-n-r.rested, maxRoom)
	if l.fits() || r.failed || size < leastRoom {
		return
	}
	r.end = l.size
	for end := (l.size + size) / sector * sector; r.end < end; {
		piece := filler[:min(page-r.end%page, end-r.end)]
		if writeAt(l.file, piece, r.end) != nil {
			r.failed = true
			// NB: an os.File that has written a part, as on a disk that is full, tells an error and no bytes.
			if size, err := l.file.Size(); err == nil && size <= end {
				r.end = max(r.end, size)
			}
			return
		}
		r.end += int64(len(piece))
	}
}

// rest cuts the room if nothing was appended since it was called last.
func (l *Log) rest() {
	if l.size == l.room.looked {
		l.cutRoom()
	}
	l.room.looked = l.size
}

// cutRoom leaves no room behind the lines. What somebody else has written there it leaves alone.
func (l *Log) cutRoom() {
	l.room.rested, l.room.failed = l.size, false
	if l.size >= l.room.end {
		return
	}
	if size, err := l.file.Size(); err != nil || size != l.room.end {
		return
	}
	_ = l.file.Truncate(l.size) // one that has failed may have cut the file
	if size, err := l.file.Size(); err == nil && size == l.size {
		l.room.end, l.reserved = 0, 0 // blocks behind the end are gone too
	}
}

// extent tells how far a file is filled: its size, up to where there is something else than tabs, and something else
// than filler. A file of filler alone is no log: it passes for filled.
type extent struct{ size, zeros, lines int64 }

// measure reads a file's filler, from its end. NB: the server whose log it is may cut it meanwhile.
func measure(file File) (e extent, err error) {
	for before := int64(math.MaxInt64); ; before = e.size {
		if e.size, err = file.Size(); err != nil {
			return e, err
		}
		if e.zeros, err = trimmed(file, e.size, "\t"); err == nil {
			e.lines, err = trimmed(file, e.zeros, "\t\x00")
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || e.size >= before {
			break
		}
	}
	if e.lines == 0 {
		e.zeros, e.lines = e.size, e.size
	}
	return e, err
}

// trimmed is where file[:end] ends without the bytes in cutset.
func trimmed(file io.ReaderAt, end int64, cutset string) (int64, error) {
	buf := make([]byte, 4<<10)
	for end > 0 {
		piece := buf[:min(int64(len(buf)), end)]
		if err := readFull(file, piece, end-int64(len(piece))); err != nil {
			return 0, err
		}
		left := len(bytes.TrimRight(piece, cutset))
		end -= int64(len(piece) - left)
		if left > 0 {
			break
		}
	}
	return end, nil
}

// isFiller tells whether a write that did not come through, or nothing else, is in b.
func isFiller(b []byte) bool { return len(bytes.Trim(b, "\t\x00")) == 0 }

// holdsFiller tells whether n bytes of filler are in b in a row.
func holdsFiller(b []byte, n int) bool {
	for len(b) >= n {
		i := n - 1 // from the back: most bytes are none
		for i >= 0 && (b[i] == '\t' || b[i] == 0) {
			i--
		}
		if i < 0 {
			return true
		}
		b = b[i+1:]
	}
	return false
}
