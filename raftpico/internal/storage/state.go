package storage

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// The user's state is most of a snapshot's line, and may be larger than memory likes. So that line alone is written and
// read in pieces, and the records of package wire that tell of it leave the state out: who wants it reads the file.
//
//	{"Snapshot":{"last_included":…,…,"machines":{"system":{…},"user":STATE}},"crc":"9d3f02c1"}

// section is where a state is in a file, in bytes, and what its line is checked with.
type section struct {
	line, from, size int64  // the line's offset, the state's offset and size
	end              int64  // offset behind what the crc covers
	prev, crc        uint32 // the line before and this one
}

// pieceSize is of what a state is written and read in, in bytes.
const pieceSize = 256 << 10

// writeSnapshot writes the line of a snapshot. The state comes from a function that writes it: JSON without newlines.
func (t *tail) writeSnapshot(s *wire.Snapshot, state func(io.Writer) error) error {
	w := t.beginState(s)
	if err := state(w); err != nil {
		return err
	}
	return w.Close()
}

// StateWriter writes the line of a snapshot; what is written to it is the user's state.
type StateWriter struct {
	tail   *tail
	record *wire.Record
	crc    uint32
	buf    []byte // not yet written
	size   int64  // of the line so far, without buf
	out    giver
	state  section
	err    error
}

func (t *tail) beginState(s *wire.Snapshot) *StateWriter {
	meta := *s
	meta.Machines.User = nil
	w := &StateWriter{tail: t, record: &wire.Record{Snapshot: &meta}, crc: Chain(t.crc, nil), out: newGiver(t.file, t.size)}
	w.buf = append(make([]byte, 0, pieceSize+64<<10), `{"Snapshot":`...)
	w.buf = wire.AppendSnapshotHead(w.buf, &meta)
	w.state.line, w.state.from, w.state.prev = t.size, t.size+int64(len(w.buf)), t.crc
	if wire.FindState(w.buf) != len(w.buf) {
		w.err = errors.New("what stands before the state is no JSON")
	}
	return w
}

// Write implements io.Writer. What is long is written from where it is.
func (w *StateWriter) Write(p []byte) (int, error) {
	if w.err == nil && bytes.IndexByte(p, '\n') >= 0 {
		w.err = errNewline
	}
	done := 0
	for w.err == nil && done < len(p) {
		rest := p[done:]
		if len(rest) >= longData {
			if w.flush(); w.err == nil {
				rest = rest[:min(len(rest), longPiece)]
				w.put(rest)
				done += len(rest)
			}
			continue
		}
		if len(w.buf) >= pieceSize {
			w.flush()
			continue
		}
		n := min(len(rest), pieceSize-len(w.buf))
		w.buf = append(w.buf, rest[:n]...)
		done += n
	}
	w.state.size += int64(done)
	return done, w.err
}

// flush writes what is buffered, which the crc covers.
func (w *StateWriter) flush() {
	if len(w.buf) > 0 {
		w.put(w.buf)
		w.buf = w.buf[:0]
	}
}

func (w *StateWriter) put(piece []byte) {
	w.crc = crc32.Update(w.crc, Castagnoli, piece)
	w.write(piece)
}

func (w *StateWriter) write(piece []byte) {
	w.err = writeAt(w.tail.file, piece, w.tail.size+w.size)
	w.size += int64(len(piece))
	if w.err == nil {
		w.err = w.out.upTo(w.tail.size + w.size)
	}
}

// Size is that of the state so far, in bytes.
func (w *StateWriter) Size() int64 { return w.state.size }

// Close ends the line.
func (w *StateWriter) Close() error {
	if w.err == nil && w.state.size == 0 {
		w.err = errors.New("a snapshot without the user's state")
	}
	if w.err == nil {
		w.buf = append(w.buf, wire.SnapshotTail...)
		w.flush()
	}
	if w.err == nil {
		w.write(AppendTail(w.buf, w.crc))
	}
	if w.err == nil {
		w.state.crc, w.state.end = w.crc, w.tail.size+w.size-int64(TailLen)-1
		w.tail.state = w.state
		w.err = w.tail.take(w.record, w.crc, w.size)
	}
	return w.err
}

// UserState is the user's state in a log file's snapshot, open for reading. It stays good when the file is replaced. What
// is read is checked against the line's crc: the last Read fails if a bit has changed on the disk.
type UserState struct {
	At   wire.EntryID // the last entry in it
	in   *io.SectionReader
	at   section
	crc  uint32 // of the line up to what was read
	file File
	held *place // nil: nobody frees it
}

// Size is that of the state, in bytes.
func (s *UserState) Size() int64 { return s.in.Size() }

// Read implements io.Reader.
func (s *UserState) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	s.crc = crc32.Update(s.crc, Castagnoli, p[:n])
	if err == io.EOF {
		crc, broken := checksum(s.file, s.crc, s.at.from+s.at.size, s.at.end)
		if broken == nil && crc != s.at.crc {
			broken = errors.New("storage: the state in the log file is damaged: its crc does not match")
		}
		if broken != nil {
			return n, broken
		}
	}
	return n, err
}

// Close lets go of the file.
func (s *UserState) Close() error {
	err := s.file.Close()
	if s.held == nil {
		return err
	}
	return errors.Join(err, s.held.leave())
}

// OpenState opens the state in the log's snapshot. The caller owns it, on any goroutine, and must close it.
func (l *Log) OpenState() (*UserState, error) {
	if l.snapshot.Index == 0 {
		return nil, errNoSnapshot
	}
	file, err := l.fs.OpenFile(l.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("storage: open the snapshot: %w", err)
	}
	s, err := l.openState(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l.place.enter()
	s.held = l.place
	return s, nil
}

var errNoSnapshot = errors.New("storage: the log has no snapshot")

// openState opens the state in the file, which the UserState closes.
func (t *tail) openState(file File) (*UserState, error) {
	crc, err := checksum(file, Chain(t.state.prev, nil), t.state.line, t.state.from)
	if err != nil {
		return nil, fmt.Errorf("storage: read the snapshot: %w", err)
	}
	return &UserState{At: t.snapshot, in: io.NewSectionReader(file, t.state.from, t.state.size), at: t.state, crc: crc, file: file}, nil
}

// State opens the state in a snapshot that was written and has not yet taken the log's place. It is good as long as r.
func (r *Replacement) State() *io.SectionReader {
	return io.NewSectionReader(r.file, r.state.from, r.state.size)
}

// firstHead and maxHead bound what is read to find what stands before the user's state in a snapshot's line, in bytes: the
// member list, and what the sessions keep. A longer line is read as a whole.
const (
	firstHead = 1 << 20
	maxHead   = 64 << 20
)

// stateOf is the section of a line whose body is in memory as a whole.
func stateOf(body []byte, line int64, s *wire.Snapshot, prev, crc uint32) section {
	return section{line, line + int64(wire.FindState(body)), int64(len(s.Machines.User)), line + int64(len(body)), prev, crc}
}

// scanSnapshot reads the line of a snapshot in pieces, if the next line is a good one. It leaves everything else as it was,
// for the ordinary way.
func (s *scanner) scanSnapshot(line *Line) (ok bool, err error) {
	const start = `{"Snapshot":{`
	if is, err := s.lines.startsWith(start); !is || err != nil {
		return false, err
	}
	end, err := s.lines.findNewline()
	src, from := s.lines.src, s.lines.offset()
	if err != nil || end < 0 || end-from < int64(len(start)+TailLen) {
		return false, err
	}
	var head []byte
	at := -1
	for size := int64(firstHead); at < 0 && size <= maxHead && int64(len(head)) < end-from; size *= 4 {
		head = make([]byte, min(size, end-from))
		if err := readFull(src, head, from); err != nil {
			return false, err
		}
		at = wire.FindState(head)
	}
	body := end - int64(TailLen) // where the crc's part begins
	state := section{line: from, from: from + int64(at), size: body - int64(len(wire.SnapshotTail)) - from - int64(at), end: body, prev: s.stated}
	if at < 0 || state.size <= 0 {
		return false, nil
	}
	last := make([]byte, len(wire.SnapshotTail)+TailLen)
	if err := readFull(src, last, end-int64(len(last))); err != nil {
		return false, err
	}
	crc, err := checksum(src, Chain(s.stated, nil), from, body)
	if err != nil {
		return false, err
	}
	stated, formed := ReadTail(last[len(wire.SnapshotTail):])
	if !formed || stated != crc || string(last[:len(wire.SnapshotTail)]) != wire.SnapshotTail {
		return false, nil
	}
	record, err := wire.DecodeRecord(append(head[:at:at], `null`+wire.SnapshotTail+`}`...))
	if err != nil || record.Snapshot == nil {
		return false, nil
	}
	record.Snapshot.Machines.User = nil
	line.Record, line.Length, line.CRC = record, end+1-from, true
	line.text = io.NewSectionReader(src, from, end-from)
	s.lines.seek(end + 1)
	s.stated, state.crc = crc, crc
	if s.Refused == nil {
		line.Err = s.take(record, crc, line.Length)
		s.state = state
		s.settle(line, nil, true, false)
	}
	return true, nil
}

// checksum goes on with a crc over a part of a file.
func checksum(src io.ReaderAt, crc uint32, from, to int64) (uint32, error) {
	buf := make([]byte, pieceSize)
	for from < to {
		piece := buf[:min(int64(len(buf)), to-from)]
		if err := readFull(src, piece, from); err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, Castagnoli, piece)
		from += int64(len(piece))
	}
	return crc, nil
}
