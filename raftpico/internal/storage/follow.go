package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// Follow reads a log file as Inspect does, and goes on with what a server appends, until ctx ends, which is no error, fn
// returns one, or a line is refused. A file that takes the log's place, as with each snapshot, is read on from where the
// old one was left: lines with nothing new are passed over. It looks for news as often as every says.
func Follow(ctx context.Context, fsys FS, path string, every time.Duration, fn func(*Line) error) error {
	f := &follower{fn: fn}
	defer f.close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	if err := f.open(fsys, path); err != nil {
		return err
	}
	for {
		named, err := f.file.Named(path) // before the look: what comes until then is read
		if err == nil {
			err = f.look()
		}
		if err == nil && !named {
			if err = f.open(fsys, path); errors.Is(err, fs.ErrNotExist) {
				err = nil // it may come yet
			}
			if err == nil && f.fresh() {
				continue
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// follower reads one file after the other.
type follower struct {
	fn    func(*Line) error
	file  File
	s     *scanner
	seen  wire.EntryID // the latest entry that was handed on, by its term and then its index: a new leader's entries are news
	known int64        // up to this offset, the lines that were in the file when it was opened may have been in the one before
	news  bool         // a line has come that was not
}

// fresh tells whether nothing of the file was read yet.
func (f *follower) fresh() bool { return f.s.number == 0 }

func (f *follower) close() {
	if f.file != nil {
		_ = f.file.Close()
	}
}

func (f *follower) open(fsys FS, path string) error {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("storage: follow: %w", err)
	}
	first := f.file == nil
	f.close()
	f.file, f.s = file, &scanner{path: path, lines: lineReader{src: file}}
	f.known, f.news = 0, first
	if !first {
		full, err := measure(file)
		if err != nil {
			return fmt.Errorf("storage: follow: %w", err)
		}
		f.known = full.lines
	}
	return nil
}

// look hands on the whole lines that have come.
func (f *follower) look() error {
	end, err := f.lastEnd()
	if err != nil || end <= f.s.lines.end {
		return err
	}
	f.s.lines.end = end
	if err := f.s.run(f.take); err != nil {
		return err
	}
	return f.s.Refused
}

// lastEnd is the offset behind the last newline.
func (f *follower) lastEnd() (int64, error) {
	size, err := f.file.Size()
	if err != nil {
		return 0, fmt.Errorf("storage: follow: %w", err)
	}
	buf := make([]byte, pieceSize)
	for size > f.s.lines.end {
		from := max(f.s.lines.end, size-int64(len(buf)))
		piece := buf[:size-from]
		if err := readFull(f.file, piece, from); errors.Is(err, io.ErrUnexpectedEOF) {
			break // the room was cut
		} else if err != nil {
			return 0, fmt.Errorf("storage: follow: %w", err)
		}
		if i := bytes.LastIndexByte(piece, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		size = from
	}
	return f.s.lines.end, nil
}

func (f *follower) take(line *Line) error {
	last := wire.EntryID{}
	if r := line.Record; r != nil && r.Snapshot != nil {
		last = r.Snapshot.LastIncluded
	}
	if r := line.Record; r != nil && r.LogEntries != nil {
		last = later(last, r.LogEntries.Prev)
		if k := len(r.LogEntries.Entries); k > 0 {
			e := r.LogEntries.Entries[k-1]
			last = later(last, wire.EntryID{Term: e.GetTerm(), Index: e.GetIndex()})
		}
	}
	f.news = f.news || later(f.seen, last) != f.seen || line.Offset >= f.known
	f.seen = later(f.seen, last)
	if !f.news && line.Err == nil {
		return nil
	}
	return f.fn(line)
}

// later is the later of two entries of a log. A leader may replace entries by fewer of a higher term.
func later(a, b wire.EntryID) wire.EntryID {
	if b.Term > a.Term || b.Term == a.Term && b.Index > a.Index {
		return b
	}
	return a
}
