package storage

import (
	"bytes"
	"io"
)

// lineReader splits a file of known size into lines, in a buffer that grows to the longest of them.
type lineReader struct {
	src      io.ReaderAt
	at, end  int64 // read so far, and to be read
	buf      []byte
	from, to int // of what waits in buf
}

// offset of the next line's first byte.
func (l *lineReader) offset() int64 { return l.at - int64(l.to-l.from) }

// done tells whether nothing follows.
func (l *lineReader) done() bool { return l.offset() >= l.end }

// next returns a line without its newline, good until the next call, and whether it had one; io.EOF when all are read.
func (l *lineReader) next() (text []byte, ended bool, err error) {
	for searched := 0; ; {
		waiting := l.buf[l.from:l.to]
		if i := bytes.IndexByte(waiting[searched:], '\n'); i >= 0 {
			l.from += searched + i + 1
			return waiting[:searched+i], true, nil
		}
		if l.at >= l.end {
			if len(waiting) == 0 {
				return nil, false, io.EOF
			}
			l.from = l.to
			return waiting, false, nil
		}
		searched = len(waiting)
		if err := l.fill(); err != nil {
			return nil, false, err
		}
	}
}

func (l *lineReader) fill() error {
	l.to, l.from = copy(l.buf, l.buf[l.from:l.to]), 0
	if l.to == len(l.buf) {
		l.buf = append(l.buf, make([]byte, max(int(min(256<<10, l.end)), len(l.buf)))...)
	}
	n := min(int64(len(l.buf)-l.to), l.end-l.at)
	err := readFull(l.src, l.buf[l.to:l.to+int(n)], l.at)
	if err == nil {
		l.to, l.at = l.to+int(n), l.at+n
	}
	return err
}

// readFull reads all of b.
func readFull(src io.ReaderAt, b []byte, offset int64) error {
	got, err := src.ReadAt(b, offset)
	switch {
	case got == len(b):
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF // somebody cut the file while we read it
	}
	return err
}

// startsWith tells whether the next line does.
func (l *lineReader) startsWith(start string) (bool, error) {
	for l.to-l.from < len(start) && l.at < l.end {
		if err := l.fill(); err != nil {
			return false, err
		}
	}
	return bytes.HasPrefix(l.buf[l.from:l.to], []byte(start)), nil
}

// findNewline returns the offset of the newline that ends the next line, -1 if it has none. It reads nothing in.
func (l *lineReader) findNewline() (int64, error) {
	if i := bytes.IndexByte(l.buf[l.from:l.to], '\n'); i >= 0 {
		return l.offset() + int64(i), nil
	}
	buf := make([]byte, pieceSize)
	for at := l.at; at < l.end; {
		piece := buf[:min(int64(len(buf)), l.end-at)]
		if err := readFull(l.src, piece, at); err != nil {
			return 0, err
		}
		if i := bytes.IndexByte(piece, '\n'); i >= 0 {
			return at + int64(i), nil
		}
		at += int64(len(piece))
	}
	return -1, nil
}

// seek goes on at an offset that lies ahead.
func (l *lineReader) seek(offset int64) {
	if offset <= l.at {
		l.from = l.to - int(l.at-offset)
		return
	}
	l.at, l.from, l.to = offset, 0, 0
}
