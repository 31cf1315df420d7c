package node

import (
	"errors"
	"math"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// memlog is the log as the Raft library reads it. It differs from the library's MemoryStorage in one thing. It gives
// out a snapshot only if that names every server of the applied configuration; otherwise it asks for a new one. A
// follower ignores a snapshot that does not name it, and the library would send it again for ever.
type memlog struct {
	*raft.MemoryStorage
	conf   *raftpb.ConfState // as applied
	keeps  uint64            // this server, if the library is to begin with its vote: see demotion.go; or 0
	wanted bool              // the library asked for a snapshot that is not there
}

// loadLog puts into memory what a log file holds: entries behind prev, and the snapshot, which may lie above prev.
func loadLog(prev wire.EntryID, entries []*raftpb.Entry, snap *wire.Snapshot, hard wire.HardState) (*memlog, error) {
	l := &memlog{MemoryStorage: raft.NewMemoryStorage(), conf: &raftpb.ConfState{}}
	if snap != nil {
		l.conf = snap.Metadata().GetMetadata().GetConfState()
		base := snap.Metadata()
		if len(entries) > 0 && prev.Index < snap.LastIncluded.Index {
			base.Metadata.Index, base.Metadata.Term = new(prev.Index), new(prev.Term) // a dummy below the trailing entries
		}
		if err := l.ApplySnapshot(base); err != nil {
			return nil, err
		}
	}
	if err := l.Append(entries); err != nil {
		return nil, err
	}
	if snap != nil {
		if _, err := l.CreateSnapshot(snap.LastIncluded.Index, l.conf, nil); err != nil && !errors.Is(err, raft.ErrSnapOutOfDate) {
			return nil, err
		}
	}
	return l, l.SetHardState(&raftpb.HardState{Term: new(hard.Term), Vote: new(hard.Vote), Commit: new(hard.Commit)})
}

// InitialState implements raft.Storage.
func (l *memlog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hard, conf, err := l.MemoryStorage.InitialState()
	if l.keeps != 0 {
		conf = asVoter(conf, l.keeps)
	}
	return hard, conf, err
}

// Snapshot implements raft.Storage.
func (l *memlog) Snapshot() (*raftpb.Snapshot, error) {
	snap, err := l.MemoryStorage.Snapshot()
	if err != nil {
		return nil, err
	}
	has := confIDs(snap.GetMetadata().GetConfState())
	for _, id := range confIDs(l.conf) {
		if !slices.Contains(has, id) {
			l.wanted = true
			return nil, raft.ErrSnapshotTemporarilyUnavailable
		}
	}
	return snap, nil
}

// tail returns a place at or before index with at most maxBytes of entries behind it up to index, as far back as they
// reach. NB: It looks at no more entries than that, since the log may have a million.
func (l *memlog) tail(index, maxBytes uint64) wire.EntryID {
	first, _ := l.FirstIndex()
	at := min(index, l.last())
	const block = 256
	for size := uint64(0); at >= first; {
		from := max(first, at+1-min(block, at+1))
		entries, err := l.Entries(from, at+1, math.MaxUint64)
		if err != nil {
			break
		}
		for ; len(entries) > 0; entries = entries[:len(entries)-1] {
			if size += uint64(len(entries[len(entries)-1].GetData())); size > maxBytes {
				return l.place(at)
			}
			at--
		}
	}
	return l.place(at)
}

// place is that of an entry, or of the last one that was forgotten.
func (l *memlog) place(index uint64) wire.EntryID {
	term, _ := l.Term(index)
	return wire.EntryID{Term: term, Index: index}
}

// behind returns the entries behind a place.
func (l *memlog) behind(prev wire.EntryID) []*raftpb.Entry {
	entries, err := l.Entries(prev.Index+1, l.last()+1, math.MaxUint64)
	if err != nil { // there are none
		return nil
	}
	return entries
}

// compact makes a snapshot the one that is given out, and forgets the entries up to prev.
func (l *memlog) compact(s *wire.Snapshot, prev wire.EntryID) error {
	if _, err := l.CreateSnapshot(s.LastIncluded.Index, s.Metadata().GetMetadata().GetConfState(), nil); err != nil {
		return err
	}
	if first, _ := l.FirstIndex(); prev.Index >= first {
		return l.Compact(prev.Index)
	}
	return nil
}

// last is the index of the last durable entry.
func (l *memlog) last() uint64 {
	index, _ := l.LastIndex() // MemoryStorage never fails here
	return index
}

// without is a configuration less one server.
func without(c *raftpb.ConfState, id uint64) *raftpb.ConfState {
	other := func(ids []uint64) []uint64 {
		return slices.DeleteFunc(slices.Clone(ids), func(x uint64) bool { return x == id })
	}
	return &raftpb.ConfState{Voters: other(c.GetVoters()), Learners: other(c.GetLearners())}
}

// confIDs are the servers of a configuration, ascending. Joint configurations do not occur: we change one server a
// step.
func confIDs(c *raftpb.ConfState) []uint64 {
	ids := slices.Concat(c.GetVoters(), c.GetLearners())
	slices.Sort(ids)
	return ids
}
