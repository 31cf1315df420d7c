package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// rescuedSuffix is that of the copy of a log that lost its name.
const rescuedSuffix = ".rescued"

// Check tells whether the file is still what the log's name leads to, and as long as the log made it. Where it is not,
// nobody would find at the next start what is acknowledged from now on. So the log is dead: this and every later call
// return the same error.
//
// The file may have no other name, and would be gone when it is closed. So its content is saved first, as PATH.rescued.
// It is not put back: somebody may have taken it away on purpose, and two servers must not start from one log.
//
// A log to which nothing was appended since the look before is at rest: its room is cut.
//
// Check costs a few microseconds. Call it every few seconds; Commit does so too, so as not to replace somebody's file.
func (l *Log) Check() error {
	if l.err != nil {
		return l.err
	}
	what := l.whatHappened()
	if what == "" {
		l.rest()
		return nil
	}
	saved := "The content is saved as " + l.path + rescuedSuffix + ". To go on with it, see that nobody else uses it, and give it the name of the log again"
	err := l.rescue()
	if err != nil {
		saved = "The content could not be saved: remove the server from its cluster, and add it anew with an empty file"
	}
	l.err = fmt.Errorf("storage: %s %s while it was in use. %s", l.name, what, saved)
	if err != nil {
		l.err = fmt.Errorf("%w: %w", l.err, err)
	}
	return l.err
}

// whatHappened is empty if nothing did. Where it can't be told, because of rights or a disk, the log goes on as well as
// it can.
func (l *Log) whatHappened() string {
	if named, err := l.file.Named(l.name); err == nil && !named {
		return "was deleted, moved or replaced"
	}
	if size, err := l.file.Size(); err == nil && size != l.made() {
		return fmt.Sprintf("was changed by somebody else, from %d to %d bytes,", l.made(), size)
	}
	return ""
}

// rescue copies the file, whose header comes last: half a log with a header would look like a whole one that a crash
// has cut. It leaves a copy of before alone.
func (l *Log) rescue() error {
	path := l.path + rescuedSuffix
	file, err := l.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	start := make([]byte, min(l.size, sector))
	err = readFull(l.file, start, 0)
	header := int64(bytes.IndexByte(start, '\n') + 1)
	for _, part := range [][2]int64{{header, l.size}, {0, header}} {
		if err == nil {
			err = l.copyTo(file, part[0], part[1])
		}
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, l.fs.Remove(path))
	}
	return l.syncDir()
}

// copyTo makes a part of the file durable in another.
func (l *Log) copyTo(file File, from, to int64) error {
	n, err := io.Copy(io.NewOffsetWriter(file, from), io.NewSectionReader(l.file, from, to-from))
	if err == nil && n < to-from {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return file.Sync()
}
