package storage

import (
	"fmt"
	"math"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// outline is what the lines of a log file amount to, without the entries' content. It holds the rules that one line
// lays on the next. Reading and writing both go through it: what Append takes, Open takes back.
//
//	runs[0].first == prev.Index <= last
//	term of index i, prev.Index <= i <= last: that of the last run with first <= i
type outline struct {
	header   *wire.Header
	identity *wire.Identity
	snapshot wire.EntryID // zero: none
	hard     wire.HardState
	prev     wire.EntryID // the place before the first entry; may lie below the snapshot (trailing entries)
	last     uint64
	runs     []run
	fresh    bool // no entries have come since the snapshot
}

// run is a run of entries of one term, up to the next run.
type run struct{ term, first uint64 }

// add takes one more line. After an error the outline is of no use.
func (o *outline) add(r *wire.Record) error {
	if (r.Header != nil) != (o.header == nil) {
		return fmt.Errorf("the first line, and no other, holds a header")
	}
	if r.Header != nil {
		if r.Header.Format != wire.Format {
			return fmt.Errorf("a header of format %d", r.Header.Format)
		}
		o.header = new(*r.Header)
		o.restart(wire.EntryID{})
	}
	if r.Identity != nil {
		if o.identity != nil {
			return fmt.Errorf("a second identity")
		}
		o.identity = new(*r.Identity)
	}
	if s := r.Snapshot; s != nil {
		if s.LastIncluded.Index == 0 || s.LastIncluded.Index < o.committed() {
			return fmt.Errorf("a snapshot at index %d below commit %d", s.LastIncluded.Index, o.committed())
		}
		o.snapshot, o.fresh = s.LastIncluded, true
		o.restart(s.LastIncluded)
	}
	if r.LogEntries != nil {
		// Against the commit before this line: entries and the commit that covers them may come together.
		if err := o.addEntries(r.LogEntries); err != nil {
			return err
		}
		if r.HardState == nil && len(r.LogEntries.Entries) > 0 {
			return fmt.Errorf("entries without a hard state")
		}
	}
	if r.HardState != nil {
		if err := precedes(o.hard, *r.HardState); err != nil {
			return err
		}
		o.hard = *r.HardState
	}
	return nil
}

func (o *outline) addEntries(e *wire.LogEntries) error {
	if o.fresh && e.Prev.Index < o.snapshot.Index {
		o.restart(e.Prev)
	}
	o.fresh = false
	if e.Prev.Index < o.prev.Index || e.Prev.Index > o.last || o.term(e.Prev.Index) != e.Prev.Term {
		return fmt.Errorf("entries follow entry %d of term %d, which the log does not have", e.Prev.Index, e.Prev.Term)
	}
	if e.Prev.Index < o.last && e.Prev.Index < o.committed() {
		return fmt.Errorf("entries after %d are replaced, but those up to %d are committed", e.Prev.Index, o.committed())
	}
	if uint64(len(e.Entries)) > math.MaxUint64-e.Prev.Index {
		return fmt.Errorf("entries past the last index there is")
	}
	for o.runs[len(o.runs)-1].first > e.Prev.Index {
		o.runs = o.runs[:len(o.runs)-1]
	}
	for _, entry := range e.Entries {
		if term := entry.GetTerm(); term != o.runs[len(o.runs)-1].term {
			o.runs = append(o.runs, run{term, entry.GetIndex()})
		}
	}
	o.last = e.Prev.Index + uint64(len(e.Entries))
	if at := o.snapshot; e.Prev.Index < at.Index && at.Index <= o.last && o.term(at.Index) != at.Term {
		return fmt.Errorf("entry %d has term %d, the snapshot there has term %d", at.Index, o.term(at.Index), at.Term)
	}
	return nil
}

// whole holds what must be true of a file when its last line has been taken. In between it may not be: the entries
// beside a snapshot may take several lines.
func (o *outline) whole() error {
	switch {
	case o.header == nil:
		return fmt.Errorf("a log without a header")
	case o.last < o.snapshot.Index:
		return fmt.Errorf("the entries end at %d, before the snapshot at %d", o.last, o.snapshot.Index)
	case o.hard.Commit > o.last:
		return fmt.Errorf("commit %d is above the last entry %d", o.hard.Commit, o.last)
	case o.hard.Term < o.term(o.last):
		return fmt.Errorf("term %d is below the last entry's, %d", o.hard.Term, o.term(o.last))
	case o.identity == nil && (o.last > 0 || o.hard != wire.HardState{}):
		return fmt.Errorf("a Raft state of a server without an identity")
	}
	return nil
}

// succeeds tells whether a file with this outline may take the place of one with the old: it forgets no promise.
func (o *outline) succeeds(old *outline) error {
	if err := o.whole(); err != nil {
		return err
	}
	if old.identity != nil && (o.identity == nil || *o.identity != *old.identity) {
		return fmt.Errorf("another identity")
	}
	if o.snapshot.Index < old.snapshot.Index {
		return fmt.Errorf("a snapshot at %d below that at %d", o.snapshot.Index, old.snapshot.Index)
	}
	return precedes(old.hard, o.hard)
}

// committed is the index up to which entries are known to be committed.
func (o *outline) committed() uint64 { return max(o.hard.Commit, o.snapshot.Index) }

func (o *outline) restart(at wire.EntryID) {
	o.prev, o.last, o.runs = at, at.Index, append(o.runs[:0], run{at.Term, at.Index})
}

// end is the last entry.
func (o *outline) end() wire.EntryID { return wire.EntryID{Term: o.term(o.last), Index: o.last} }

// term of an index in [prev.Index, last]. Questions are about the end of the log, nearly always.
func (o *outline) term(index uint64) uint64 {
	i := len(o.runs) - 1
	for o.runs[i].first > index {
		i--
	}
	return o.runs[i].term
}

// precedes tells whether a server in one hard state can be in the other later (Raft paper, figure 2).
func precedes(old, now wire.HardState) error {
	switch {
	case now.Term < old.Term:
		return fmt.Errorf("term %d after term %d", now.Term, old.Term)
	case now.Term == old.Term && old.Vote != 0 && now.Vote != old.Vote:
		return fmt.Errorf("a vote for %d after one for %d in term %d", now.Vote, old.Vote, now.Term)
	case now.Commit < old.Commit:
		return fmt.Errorf("commit %d after commit %d", now.Commit, old.Commit)
	}
	return nil
}
