package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Line is one line of a log file as it was read.
type Line struct {
	Number int          // from 1
	Offset int64        // of its first byte
	Length int64        // bytes, with the newline where it has one
	CRC    bool         // it ends in the right crc
	Record *wire.Record // nil where it can't be decoded; a snapshot is without the user's state
	Err    error        // why Open would not take it; behind a refused line only crc and JSON are judged
	text   *io.SectionReader
}

// Text reads the line without its newline, from its start. It is good until the callback returns.
func (l *Line) Text() io.Reader { return io.NewSectionReader(l.text, 0, l.text.Size()) }

// Report tells what Open would do with a file.
type Report struct {
	Lines   int   // that it would take
	End     int64 // bytes of them
	Cut     int64 // bytes of a torn line behind them, which it would cut; without room
	Refused error // why it would refuse the file: a *DamageError, or wraps ErrFormat
}

// scanner reads a log file from its start and judges it.
type scanner struct {
	tail
	Report
	path    string
	full    extent // of the file
	lines   lineReader
	number  int    // of the line read last
	stated  uint32 // the crc that the line before states, good or bad
	last    int64  // offset of the last good line
	unended bool   // it lacks its newline
}

func newScanner(path string, t tail) (*scanner, error) {
	full, err := measure(t.file)
	if err != nil {
		return nil, fmt.Errorf("storage: read %s: %w", path, err)
	}
	return &scanner{path: path, tail: t, full: full, lines: lineReader{src: t.file, end: full.lines}}, nil
}

// run hands each line to fn, those behind a refused one too, until fn returns an error; only if it never does is the
// report complete.
func (s *scanner) run(fn func(*Line) error) error {
	for {
		line := &Line{Number: s.number + 1, Offset: s.lines.offset()}
		streamed, err := s.scanSnapshot(line)
		if err == nil && !streamed {
			var text []byte
			var ended bool
			if text, ended, err = s.lines.next(); err == nil {
				s.judge(line, text, ended)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("storage: read %s: %w", s.path, err)
		}
		s.number++
		if err := fn(line); err != nil {
			return err
		}
	}
	if s.Refused == nil {
		s.Cut = max(0, s.full.zeros-s.End)
	}
	if s.Refused == nil && s.Lines > 0 {
		if err := s.whole(); err != nil {
			s.Refused = &DamageError{s.path, s.Lines, s.last, "it ends the log, but " + err.Error()}
		}
	}
	return nil
}

// judge fills the line in and counts it, unless a line before it was refused.
func (s *scanner) judge(line *Line, text []byte, ended bool) {
	crc, ok := CheckLine(s.stated, text)
	if !ok && !ended && len(text) > 0 {
		// A newline that did not reach the disk was taken for filler. Whatever stands in its place, the record is complete.
		if c, whole := CheckLine(s.stated, text[:len(text)-1]); whole {
			text, crc, ok = text[:len(text)-1], c, true
		}
	}
	prev := s.stated
	s.stated = crc
	line.text = io.NewSectionReader(bytes.NewReader(text), 0, int64(len(text)))
	line.Length, line.CRC = int64(len(text)), ok
	if ended {
		line.Length++
	}
	var undecoded error
	whole := 0
	line.Record, undecoded = wire.DecodeRecord(text)
	switch {
	case !ok:
		whole = wholeRecord(prev, text)
		line.Err = errors.New(causeOfCRC(text, whole, undecoded == nil))
	case undecoded != nil:
		line.Err = undecoded
	case s.Refused == nil:
		line.Err = s.take(line.Record, crc, int64(len(text))+1)
		if snap := line.Record.Snapshot; snap != nil {
			if s.state = stateOf(text[:len(text)-TailLen], line.Offset, snap, prev, crc); s.state.size == 0 && line.Err == nil {
				line.Err = errors.New("a snapshot without the user's state")
			}
			snap.Machines.User = nil
		}
	}
	s.settle(line, text, ended, whole > 0)
}

// settle says what a line means for the file. followed tells whether a bad line is a good record that something
// follows: no crash leaves that, since what a write does not bring reads as filler, and the newline came with the
// record.
func (s *scanner) settle(line *Line, text []byte, ended, followed bool) {
	switch ok := line.CRC; {
	case s.Refused != nil:
	case line.Err == nil:
		s.Lines, s.last, s.End, s.unended = line.Number, line.Offset, line.Offset+line.Length, !ended
	case !ok && !followed && s.lines.done() && torn(text, line.Offset, ended) && (line.Number > 1 || line.Record == nil && s.startOfHeader(text)):
		line.Err = errors.New("torn by a crash")
	case line.Number == 1 && foreign(text, line.Record):
		line.Err = formatError(s.path, line.Record, text)
		s.Refused = line.Err
	default:
		s.Refused = &DamageError{s.path, line.Number, line.Offset, line.Err.Error()}
	}
}

// headerStart is how every log file begins.
const headerStart = `{"Header":{"format":`

// startOfHeader tells whether a torn first line is ours. Its file may be created anew: Open returns, and the server
// says its first word, only when the header is durable. Had the file been longer once, the new instance id makes the
// server a stranger to its cluster, as if the file had been deleted. A file of somebody else's must not be lost.
func (s *scanner) startOfHeader(text []byte) bool {
	written := bytes.TrimRight(text, "\x00")
	n := min(len(written), len(headerStart))
	return s.full.size < sector && string(written[:n]) == headerStart[:n]
}

// foreign tells whether a first line is none that this version wrote, before or after its bytes went bad.
func foreign(text []byte, r *wire.Record) bool {
	if r != nil && r.Header != nil {
		return r.Header.Format != wire.Format
	}
	return !bytes.HasPrefix(text, []byte(headerStart))
}

func formatError(path string, r *wire.Record, text []byte) error {
	if r == nil || r.Header == nil || r.Header.Format == wire.Format {
		return fmt.Errorf("storage: %s: %w: %s", path, ErrFormat, causeOfStart(text))
	}
	return fmt.Errorf("storage: %s: %w: its format is %d, this program's %d", path, ErrFormat, r.Header.Format, wire.Format)
}
