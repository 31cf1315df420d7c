package sim

import (
	"hash/crc32"
	"math"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// disk is what a server's log must hold, by what its core was told to be durable. After a restart the log must be
// exactly that, or that and what was being written when the server ended.
type disk struct {
	contents
	writing []*wire.Record // nil: nothing
	next    *contents      // the log after a replacement that may have come through, nil if there is none such
	anew    bool           // what is being written replaces the log
	broken  bool           // a fault was ordered: a call may fail
}

// contents is a log: entries from base.Index+1 on.
type contents struct {
	identity wire.Identity
	hard     wire.HardState
	base     wire.EntryID
	snapshot uint64 // index
	entries  []place
}

// place is an entry: its term, a hash of its data, whether it is a step of the configuration, and about its size in bytes.
type place struct {
	term uint64
	hash uint32
	step bool
	size uint16
}

// write carries out do, which makes records durable.
func (d *disk) write(s *server, anew bool, records []*wire.Record, do func() error) error {
	d.writing, d.anew = records, anew
	err := do()
	if err == nil {
		d.contents = d.written()
		d.writing, d.next = nil, nil
		s.still = s.still && d.hard.Vote != d.identity.NodeID // who has not voted for itself does not lead
		for _, r := range records {
			if r.Identity != nil {
				s.joined = s.w.now
				s.w.founding.found(s)
			}
		}
		s.cluster().logged(s, records)
	}
	return err
}

// compact carries out do, which lets a file of these records take the log's place: they are the log, with fewer entries
// before the snapshot.
func (d *disk) compact(records []*wire.Record, do func() error) error {
	next := d.contents
	next.snapshot = records[1].Snapshot.LastIncluded.Index
	base := records[1].Snapshot.LastIncluded
	if e := records[2].LogEntries; e != nil {
		base = e.Prev
	}
	if base.Index < next.base.Index {
		return do() // a snapshot of the leader's has come meanwhile: this one is superseded
	}
	next.entries = next.entries[base.Index-next.base.Index:]
	next.base = base
	next.hard.Commit = max(next.hard.Commit, records[2].HardState.Commit)
	d.next = &next
	err := do()
	if err == nil {
		d.contents, d.next = next, nil
	}
	return err
}

// written is the log with what is being written.
func (d *disk) written() contents {
	c := d.contents
	if d.anew {
		c = contents{}
	}
	for _, r := range d.writing {
		c.take(r)
	}
	return c
}

// reopened compares what is found with what must be there.
func (d *disk) reopened(s *server, state *storage.State) {
	found := contents{hard: state.HardState, base: state.Prev}
	if state.Snapshot != nil {
		found.snapshot = state.Snapshot.LastIncluded.Index
	}
	if state.Identity != nil {
		found.identity = *state.Identity
	}
	found.entries = places(state.Entries)
	var written []*wire.Record
	if without := d.contents; !found.equal(without) && (d.next == nil || !found.equal(*d.next)) {
		if with := d.written(); !found.equal(with) {
			s.w.fail("%s finds another log than it wrote: %v\nrather than %v\nor %v", s, found, without, with)
		}
		written = d.writing // its write had failed, and is there
	}
	if found.identity != d.identity {
		s.joined = s.w.now // its write had failed, and is there
	}
	*d = disk{contents: found}
	s.cluster().logged(s, written)
}

func (c *contents) last() uint64 { return c.base.Index + uint64(len(c.entries)) }

// at returns the entry of an index; ok is false outside of the log.
func (c *contents) at(index uint64) (p place, ok bool) {
	if index <= c.base.Index || index > c.last() {
		return place{}, false
	}
	return c.entries[index-c.base.Index-1], true
}

// termAt returns the term of an entry, or of the one before the first.
func (c *contents) termAt(index uint64) (term uint64, ok bool) {
	if index == c.base.Index {
		return c.base.Term, true
	}
	p, ok := c.at(index)
	return p.term, ok
}

func (c *contents) take(r *wire.Record) {
	if r.Identity != nil {
		c.identity = *r.Identity
	}
	if r.Snapshot != nil {
		c.base, c.entries = r.Snapshot.LastIncluded, nil
		c.snapshot = c.base.Index
	}
	if e := r.LogEntries; e != nil {
		keep := e.Prev.Index - c.base.Index
		if keep < uint64(len(c.entries)) {
			c.entries = slices.Clone(c.entries[:keep]) // what is cut may still be asked for, see reopened
		}
		c.entries = append(c.entries, places(e.Entries)...)
	}
	if r.HardState != nil {
		c.hard = *r.HardState
	}
}

func (c contents) equal(d contents) bool {
	return c.identity == d.identity && c.hard == d.hard && c.base == d.base && c.snapshot == d.snapshot && slices.Equal(c.entries, d.entries)
}

func places(entries []*raftpb.Entry) []place {
	ps := make([]place, len(entries))
	for i, e := range entries {
		ps[i] = place{e.GetTerm(), crc32.Checksum(e.GetData(), castagnoli), e.GetType() == raftpb.EntryConfChangeV2, uint16(min(len(e.GetData()), math.MaxUint16))}
	}
	return ps
}
