package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"github.com/raftpico/go/raftpico/internal/wire"
)

const newSuffix = ".new"

// ErrSuperseded says that a newer replacement has begun or come meanwhile; this one was dropped.
var ErrSuperseded = errors.New("superseded by a newer replacement")

// Replacement is a new file on its way to take the log's place. The old file stays whole, in use and locked until the
// rename. A long one is written beside the loop:
//
//	loop    r := log.BeginReplace(), in the call that captures snapshot, hard state and entries; log.Append goes on
//	writer  r.Write(record) …, r.WriteSnapshot(…); r.Sync(); r.CatchUp(news), with the News that the loop had, as often as it likes
//	loop    when the writer is done: log.Commit(r), or log.Abort(r)
//
// The writer gives r back before Commit or Abort; until then it alone touches it.
type Replacement struct {
	tail
	path string
	anew bool // nothing of the old file follows
	gone bool // Commit has begun to rename it: it is the log's

	hurry *atomic.Bool // see Log.Hurry
	out   giver
}

// Replace makes a new file of the records, one a line, behind the log's header, take the log's place: durable, at once
// or not at all. The records hold everything: the identity and the hard state too, even when they are the old ones.
func (l *Log) Replace(records ...*wire.Record) error {
	r, err := l.BeginAnew()
	if err != nil {
		return err
	}
	for _, record := range records {
		if err := r.Write(record); err != nil {
			l.Abort(r)
			return err
		}
	}
	old, err := l.Commit(r)
	if old != nil {
		old.Close()
	}
	return err
}

// BeginAnew is BeginReplace for a log that begins anew: what is appended to the old file meanwhile does not follow.
func (l *Log) BeginAnew() (*Replacement, error) {
	r, err := l.BeginReplace()
	if err == nil {
		r.anew = true
	}
	return r, err
}

// BeginReplace creates the new file with the log's header. One that is under way already is superseded. An error
// leaves the log as it was.
func (l *Log) BeginReplace() (*Replacement, error) {
	if l.err != nil {
		return nil, l.err
	}
	l.next, l.news = nil, nil
	if err := l.removeNew(); err != nil {
		return nil, fmt.Errorf("storage: replace %s: %w", l.path, err)
	}
	file, err := l.createNew()
	if err != nil {
		return nil, fmt.Errorf("storage: replace %s: %w", l.path, err)
	}
	r := &Replacement{tail: tail{file: file}, path: l.path, hurry: &l.hurry, out: newGiver(file, 0)}
	l.next = r
	if err := r.Write(&wire.Record{Header: l.header}); err != nil {
		l.Abort(r)
		return nil, err
	}
	return r, nil
}

// Write adds a line to the new file. After an error there is only Abort.
func (r *Replacement) Write(record *wire.Record) error {
	err := r.write(record)
	if err == nil { // NB: there may be as many lines as the state is large, of entries that are kept, or came while it was written
		if r.out.given < r.snapshotEnd {
			r.out = newGiver(r.file, r.snapshotEnd)
		}
		err = r.out.upTo(r.size)
	}
	return r.wrap(err)
}

// WriteSnapshot adds the line of a snapshot. The user's state in s is passed over: state writes it, as JSON without
// newlines.
func (r *Replacement) WriteSnapshot(s *wire.Snapshot, state func(io.Writer) error) error {
	return r.wrap(r.writeSnapshot(s, state))
}

// BeginState does so for a state that comes piece by piece.
func (r *Replacement) BeginState(s *wire.Snapshot) *StateWriter { return r.beginState(s) }

// Sync makes the lines so far durable, so that little is left to do for Commit.
func (r *Replacement) Sync() error { return r.wrap(r.file.Sync()) }

// News are the records that were appended to the log since BeginReplace, or since the last News. Who gets them must hand them
// to r.CatchUp, in their order. There are none for a replacement that is not, or no longer, under way.
func (l *Log) News(r *Replacement) []*wire.Record {
	if l.next != r {
		return nil
	}
	news := l.news
	l.news = nil
	return news
}

// note keeps a record that was appended for the replacement under way, if there is one. It copies all but what is in the entries.
func (l *Log) note(r *wire.Record) {
	if l.next == nil || l.next.anew {
		return
	}
	kept := *r
	if r.HardState != nil {
		kept.HardState = new(*r.HardState)
	}
	if e := r.LogEntries; e != nil {
		kept.LogEntries = &wire.LogEntries{Prev: e.Prev, Entries: slices.Clone(e.Entries)}
	}
	l.news = append(l.news, &kept)
}

// CatchUp adds what was appended to the old file meanwhile, in the same lines. They come behind what Write writes, so Write
// must be done. NB: They are encoded once more, and not read from the old file: that would take each byte three times as long.
func (r *Replacement) CatchUp(news []*wire.Record) error {
	for _, record := range news {
		if err := r.Write(record); err != nil {
			return err
		}
	}
	return nil
}

// Commit catches up and lets the new file take the log's place. It returns ErrSuperseded, wrapped, where a newer
// replacement has. An error before the rename leaves the log as it was, but for that of Check; one in it leaves the log
// dead.
//
// The caller must close old, if it is not nil: no name leads to that file any more, so this frees its place on the disk,
// which takes long for a large one, and may be done on another goroutine.
func (l *Log) Commit(r *Replacement) (old io.Closer, err error) {
	if err := l.prepare(r); err != nil {
		l.Abort(r)
		return nil, err
	}
	l.cutRoom() // somebody may keep the file as a copy
	l.room = room{rested: r.size}
	r.gone = true
	err = l.fs.Rename(l.path+newSuffix, l.path)
	if err == nil {
		err = l.syncDir()
	}
	left := l.place
	l.tail, l.next, l.news, l.place = r.tail, nil, nil, &place{file: r.file, hurry: &l.hurry, used: 1}
	if err != nil {
		l.err = fmt.Errorf("storage: replace %s: %w", l.path, err)
		return left.file, l.err // not to be freed: a crash may bring its name back
	}
	return left, nil
}

// prepare does all that can be done before the rename.
func (l *Log) prepare(r *Replacement) error {
	if l.err != nil {
		return l.err
	}
	if l.next != r {
		return r.wrap(ErrSuperseded)
	}
	if err := r.CatchUp(l.News(r)); err != nil {
		return err
	}
	if err := r.succeeds(&l.outline); err != nil {
		return r.wrap(err)
	}
	if at, want := r.end(), l.end(); !r.anew && at != want {
		return r.wrap(fmt.Errorf("it ends with entry %d of term %d, and the old one with entry %d of term %d", at.Index, at.Term, want.Index, want.Term))
	}
	l.syncs++
	if err := r.Sync(); err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return err
	}
	return r.wrap(r.file.Lock()) // before the rename: no other server may get in between
}

// Abort drops a replacement. A name that it can't remove, the next BeginReplace or Open does.
func (l *Log) Abort(r *Replacement) {
	l.Disown(r)
	r.Drop()
}

// Disown is the first half of Abort; Drop is the second, which takes long for a large file, and may be done on another
// goroutine.
func (l *Log) Disown(r *Replacement) {
	if l.next == r {
		l.next, l.news = nil, nil
		_ = l.removeNew()
	}
}

// Drop lets go of the file of a replacement that no log owns any more, or whose log is closed. It leaves one alone that
// Commit has made the log's, however that ended.
func (r *Replacement) Drop() {
	if !r.gone {
		_ = free(r.file, r.size, r.hurry)
	}
}

func (l *Log) createNew() (File, error) {
	return l.fs.OpenFile(l.path+newSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// removeNew removes the name of an abandoned replacement, if there is one. A writer still at work in it harms nobody.
func (l *Log) removeNew() error {
	err := l.fs.Remove(l.path + newSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (r *Replacement) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("storage: replace %s: %w", r.path, err)
}
