package sim

import (
	"slices"

	"github.com/raftpico/go/raftpico/internal/node"
)

// seats are the places that clusters have given to servers. A seat is for ever, and for one file: a server whose file was
// lost must not sit down in it again, and a file gets one seat in a cluster.
type seats struct {
	holders map[seat]*holder
	given   map[string]seat // by cluster and file
}

type seat struct {
	cluster string
	id      uint64
}

// holder is who was given a seat.
type holder struct {
	instance string // of the file
	stocked  bool   // its server has had the cluster's state
	voter    bool   // it votes, or has voted
}

// sits checks the seat that a server has taken. Called after every turn, and when it has applied something.
func (c *seats) sits(s *server, applied uint64) {
	identity, ok := s.node.Identity()
	if !ok {
		return
	}
	if h := c.holders[seat{identity.ClusterID, identity.NodeID}]; h != nil {
		if h.instance != s.instance {
			s.w.fail("%s with the file %s has taken the place of %s, server %d", s, s.instance, h.instance, identity.NodeID)
		}
		h.stocked = h.stocked || applied > 0
	}
}

// note takes the seats from a newer member list than was seen before. Nobody may be made a voter who never had the state.
func (c *seats) note(s *server, members []node.MemberState, peers []node.Peer) {
	identity, _ := s.node.Identity()
	if c.holders == nil {
		c.holders, c.given = map[seat]*holder{}, map[string]seat{}
	}
	if !slices.ContainsFunc(members, func(m node.MemberState) bool { return m.Role == "Voter" }) {
		s.w.fail("%s has a cluster without a voter: %+v", s, members)
	}
	instances := map[uint64]string{identity.NodeID: s.instance}
	for _, p := range peers {
		instances[p.ID] = p.Instance
	}
	for _, m := range members {
		instance, known := instances[m.ID]
		if !known {
			continue // s has retired in this turn, and knows nobody any more
		}
		at := seat{identity.ClusterID, m.ID}
		h := c.holders[at]
		if h == nil {
			h = &holder{instance: instance, stocked: m.ID == identity.NodeID}
			c.holders[at] = h
			file := identity.ClusterID + " " + instance
			if before, given := c.given[file]; given {
				s.w.fail("%s gives the file %s a second place, %d; it had %d", s, instance, m.ID, before.id)
			}
			c.given[file] = at
		}
		if m.Role == "Voter" && !h.voter {
			h.voter = true
			if !h.stocked {
				s.w.fail("%s has made member %d at %s a voter, which never had the state", s, m.ID, m.Addr)
			}
		}
	}
}
