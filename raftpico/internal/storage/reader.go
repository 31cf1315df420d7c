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
	got, err := l.src.ReadAt(l.buf[l.to:l.to+int(n)], l.at)
	l.to, l.at = l.to+got, l.at+int64(got)
	if int64(got) == n {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // somebody cut the file while we read it
	}
	return err
}
