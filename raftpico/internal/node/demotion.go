package node

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// A member votes, or learns for good, as the list wants it (SetVoter). A voter becomes a learner in two steps, both
// AddLearner, for the reason for which a removal takes two (walk.go): the first one takes its vote away, the second one
// proves that. Until then some of the others may still count its vote. So SetVoter is answered only then.
//
// The server itself keeps its own first step from its library, as a removed one does (removal.go). Its log may be longer
// than those of the others who don't know of the step, and they would not win its vote: it must be able to lead once more,
// and hands leadership over. The second step it gives to the library: it can be in the log only when the first is proven.
//
// Invariant: between the two steps there is no other one. So the configuration of the library of such a server and those
// of the others differ by this one server, and their majorities overlap. With a removal in between they would not: four
// others, of which the removal leaves three, would be led by two of these, and it by itself, the third, and the removed one.
//
// The proof is needed too when a server that was to vote is to learn for good before it votes: the step that gives it the
// vote may be in the log already. Only one step is under way at a time, so AddLearner that finds a learner proves that
// there is none.

// Demotion tells how far a member is on its way from a voter to a learner for good.
type Demotion string

const (
	DemotionAsked Demotion = "asked" // the list wants it, and it may vote
	DemotionTaken Demotion = "taken" // the first step is applied, and not proven
)

func (d Demotion) valid() bool { return d == "" || d == DemotionAsked || d == DemotionTaken }

// learns applies a step that makes a server a learner. Voted: it had a vote before.
func (s *system) learns(id uint64, voted bool) {
	for _, list := range []map[uint64]Member{s.Members, s.Leaving} {
		m, ok := list[id]
		switch {
		case !ok:
			continue
		case voted:
			m.Demotion = DemotionTaken
		default:
			m.Demotion = ""
		}
		list[id] = m
	}
}

// setVoter applies a SetVoter. Voters are those of the Raft configuration applied at the entry's index.
//
// NB: A member must not become a voter again before its demotion is proven. Else the step that takes its vote might be
// in the log, and come after others have relied on that vote: the last voter would go.
func (s *system) setVoter(c *wire.SetVoter, voters []uint64) *jsonrpc.Error {
	id := s.find(c.Addr)
	m := s.Members[id]
	switch {
	case id == 0:
		return ErrNotMember
	case c.Voter && m.Demotion != "":
		return ErrBusy.Because("it is about to lose its vote; ask again when it is a learner")
	case c.Voter == !m.Nonvoter:
		return nil // asked for again: of a demotion it is to be answered when it is true
	case !c.Voter && !s.votesWithout(id, voters):
		return ErrLastServer
	}
	m.Nonvoter = !c.Voter
	if m.Nonvoter {
		m.Demotion = DemotionAsked
	}
	s.Members[id] = m
	return nil
}

// votesWithout tells whether a voter is left that is to stay one, without one server. Invariant: there always is one.
func (s *system) votesWithout(gone uint64, voters []uint64) bool {
	return slices.ContainsFunc(voters, func(id uint64) bool {
		m, member := s.Members[id]
		return member && !m.Nonvoter && id != gone
	})
}

// losing is the server whose vote a command takes away that is about to be applied, or has taken away, or 0.
func (s *system) losing(c *wire.System) uint64 {
	switch {
	case c.RemoveServer != nil && c.RemoveServer.ID != 0:
		return c.RemoveServer.ID
	case c.RemoveServer != nil: // one that has left the address before is meant only where no member is there
		return cmp.Or(s.find(c.RemoveServer.Addr), s.leavesFrom(c.RemoveServer.Addr))
	case c.SetVoter != nil && !c.SetVoter.Voter:
		return s.find(c.SetVoter.Addr)
	}
	return 0
}

// needed tells whether the vote of a server that was removed, or is to learn for good, may still be needed.
func (s *system) needed(id uint64) bool { return s.leaves(id) || s.Members[id].Demotion != "" }

// unproven is the first server whose demotion is taken and not proven, or 0.
func (s *system) unproven() (first uint64) {
	for _, list := range []map[uint64]Member{s.Members, s.Leaving} {
		for id, m := range list {
			if m.Demotion == DemotionTaken && (first == 0 || id < first) {
				first = id
			}
		}
	}
	return first
}

// demoted tells whether this server votes for its library alone: its own demotion is taken and not proven.
func (n *Node) demoted() bool {
	m, _ := n.state.system.lookup(n.identity.NodeID)
	return m.Demotion == DemotionTaken
}

// demotedIn tells whether a server is demoted in a snapshot.
func demotedIn(snap *wire.Snapshot, id uint64) (bool, error) {
	var s struct {
		Members map[string]Member `json:"members"`
		Leaving map[string]Member `json:"leaving"`
	}
	if err := json.Unmarshal(snap.Machines.System, &s); err != nil {
		return false, fmt.Errorf("node: decode the members of a snapshot: %w", err)
	}
	name := strconv.FormatUint(id, 10)
	return s.Members[name].Demotion == DemotionTaken || s.Leaving[name].Demotion == DemotionTaken, nil
}

// asLearner is a configuration in which a voter learns.
func asLearner(c *raftpb.ConfState, id uint64) *raftpb.ConfState {
	c = without(c, id)
	c.Learners = append(c.Learners, id)
	slices.Sort(c.Learners)
	return c
}

// asVoter is one in which a learner votes.
func asVoter(c *raftpb.ConfState, id uint64) *raftpb.ConfState {
	c = without(c, id)
	c.Voters = append(c.Voters, id)
	return c
}
