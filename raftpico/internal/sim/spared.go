package sim

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A server may be stopped, and its file deleted, as soon as its removal is acknowledged, or that it learns for good; and it leaves for
// good when it believes that nobody needs it any more. In all cases it must be spared, by what the disks hold then:
//
//	s      the step that took its vote, and V the voters after s; it was a voter before
//	knows  commit >= s on a voter's disk: it counts the votes of V alone; the others count its vote too
//
// |V| = 2f+1 servers must go on when f of them are lost. With the vote of the removed one counted, f+2 of 2f+2 are a majority,
// and f+1 are left. So in every set of f+1 whoever has the longest log, and wins all votes, must know:
//
//	no v in V: not knows(v), and f others in V are behind v, or as far and don't know
//
// Where |V| is even, the majority before s is the one after s, and nothing is asked for. Voters whose files were lost are none
// of those f+1.
//
// That a majority of V knows would not do: one that does not know may have the longer log, and refuse its vote to those who do.

// step is a step of a Raft configuration.
type step struct {
	kind raftpb.ConfChangeType
	id   uint64
}

// noteStep notes what an entry does to the configuration.
func (c *checks) noteStep(s *server, at wire.EntryID, e *raftpb.Entry) {
	change := new(raftpb.ConfChangeV2)
	if err := proto.Unmarshal(e.GetData(), change); err != nil || len(change.GetChanges()) != 1 {
		s.w.fail("%s logs a step at %v that is none: %v %v", s, at, change, err)
	}
	c.steps[at] = step{change.GetChanges()[0].GetType(), change.GetChanges()[0].GetNodeId()}
}

// removal finds the last step of a kind that took a server's vote, and the voters after it, by what is committed or in the log of s.
func (c *checks) removal(s *server, id uint64, kind raftpb.ConfChangeType) (index uint64, voters []uint64) {
	before := []uint64{1}
	c.replay(s, max(s.disk.last(), uint64(len(c.committed))), func(i uint64, step step, after []uint64) {
		if step.id == id && step.kind == kind && slices.Contains(before, id) {
			index, voters = i, after
		}
		before = after
	})
	return index, voters
}

// replay goes through the steps up to an index, with the voters after each.
func (c *checks) replay(s *server, upTo uint64, look func(index uint64, step step, after []uint64)) {
	voters := []uint64{1}
	for i := uint64(2); i <= upTo; i++ {
		p, ok := s.disk.at(i)
		if i <= uint64(len(c.committed)) {
			p, ok = c.committed[i-1].place, true
		}
		if !ok || !p.step {
			continue
		}
		step := c.steps[wire.EntryID{Term: p.term, Index: i}]
		at := slices.Index(voters, step.id)
		switch {
		case step.kind == wire.AddVoter && at < 0:
			voters = append(voters, step.id)
		case step.kind != wire.AddVoter && at >= 0:
			voters = slices.Delete(voters, at, at+1)
		}
		look(i, step, slices.Clone(voters))
	}
}

// newest is the server that has left an address last, 0 if none has. What is there now is not meant.
func (c *checks) newest(addr string) (newest uint64) {
	for id, at := range c.addrs {
		member := slices.ContainsFunc(c.view, func(m member) bool { return m.ID == id && m.Role != "Leaving" })
		if at == addr && !member {
			newest = max(newest, id)
		}
	}
	return newest
}

// spared checks that a server whose vote was taken by a step of a kind can be spared. s is the one that says so.
func (c *checks) spared(s *server, id uint64, kind raftpb.ConfChangeType) {
	index, voters := c.removal(s, id, kind)
	if len(voters)%2 == 0 {
		return
	}
	var here []*server // voters, with their files
	for _, v := range voters {
		if on := c.seated(s.w, v); on != nil {
			here = append(here, on)
		}
	}
	for _, v := range here {
		if v.disk.knows(index) {
			continue
		}
		behind := 0
		for _, o := range here {
			if order := o.disk.compare(&v.disk.contents); o != v && (order < 0 || order == 0 && !o.disk.knows(index)) {
				behind++
			}
		}
		if behind >= (len(voters)-1)/2 {
			s.w.fail("%s says that server %d is not needed any more, but of the voters %v %s does not know that the step at %d is committed, and may need its vote: "+
				"its log ends at %d, commit %d", s, id, voters, v, index, v.disk.last(), v.disk.hard.Commit)
		}
	}
}

// knows tells whether a log says that an entry is committed.
func (c *contents) knows(index uint64) bool { return c.hard.Commit >= index || c.base.Index >= index }

// compare tells which of two logs is the more up to date (Raft paper §5.4.1).
func (c *contents) compare(d *contents) int {
	mine, _ := c.termAt(c.last())
	other, _ := d.termAt(d.last())
	if mine != other {
		return int(mine) - int(other)
	}
	return int(c.last()) - int(d.last())
}
