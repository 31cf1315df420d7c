package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// rescuedSuffix is that of the copy of a log that lost its name.
const rescuedSuffix = ".rescued"

// Check tells whether the log's name still leads to the file that is written. Where it does not, nobody would find at the
// next start what is acknowledged from now on, so the log is dead: this and every later call return the same error. The
// file may have no other name, and would be gone when it is closed, so its content is saved first as PATH.rescued. It is
// not put back: somebody may have taken it away on purpose, and two servers must not start from one log.
//
// Check costs a few microseconds. Call it every few seconds; Commit does so too, so as not to replace somebody's file.
func (l *Log) Check() error {
	if l.err != nil {
		return l.err
	}
	if named, err := l.file.Named(l.name); named || err != nil {
		return nil // where it can't be told, because of rights or a disk, the log goes on as well as it can
	}
	saved := "The content is saved as " + l.path + rescuedSuffix
	err := l.rescue()
	if err != nil {
		saved = "The content could not be saved"
	}
	l.err = fmt.Errorf("storage: %s was deleted, moved or replaced while it was in use. %s", l.name, saved)
	if err != nil {
		l.err = fmt.Errorf("%w: %w", l.err, err)
	}
	return l.err
}

// rescue copies the file. It leaves a copy of before alone.
func (l *Log) rescue() error {
	file, err := l.fs.OpenFile(l.path+rescuedSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(file, 0), io.NewSectionReader(l.file, 0, l.size))
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = l.syncDir()
	}
	return err
}
