package node

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-json"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Timeouts are a cluster's election timeouts, in milliseconds. Max is kept for the original's clients: the library
// draws the actual timeout from [Min, 2·Min).
type Timeouts struct {
	Min uint64 `json:"min_election_timeout_ms"`
	Max uint64 `json:"max_election_timeout_ms"`
}

// DefaultTimeouts are those of a cluster created without any.
var DefaultTimeouts = Timeouts{Min: 300, Max: 2000}

// MaxTimeout is a day, in milliseconds: beyond, something else is meant.
const MaxTimeout = 24 * 60 * 60 * 1000

// Filled is t with defaults in place of zeros: Max is at least twice Min.
func (t Timeouts) Filled() Timeouts {
	if t.Min == 0 {
		t.Min = DefaultTimeouts.Min
	}
	if t.Max == 0 {
		t.Max = max(DefaultTimeouts.Max, min(2*t.Min, MaxTimeout))
	}
	return t
}

// Check tells whether a cluster can be created with them.
func (t Timeouts) Check() error {
	if t.Min == 0 || t.Max < t.Min || t.Max > MaxTimeout {
		return fmt.Errorf("the election timeouts must be 0 < min ≤ max ≤ %d ms, not %d and %d", MaxTimeout, t.Min, t.Max)
	}
	return nil
}

// Tick is the unit of the library's time: a tenth of the election timeout, at least a millisecond.
func (t Timeouts) Tick() time.Duration {
	return max(time.Duration(t.Min)*time.Millisecond/electionTicks, time.Millisecond)
}

// Member is a server on the member list. Its id is the index of the entry that added it.
type Member struct {
	Addr     string   `json:"addr"`
	Instance string   `json:"instance"`
	Nonvoter bool     `json:"nonvoter,omitempty"` // it learns for good
	Demotion Demotion `json:"demotion,omitempty"`
}

// system is the framework's own replicated machine: the member list. Every change comes from an applied entry, so it
// is the same on every server at the same index.
//
// A member that was removed stays in Leaving until its removal from the Raft configuration is applied: till then it
// votes, and must be reached.
type system struct {
	Timeouts
	LeaseReads bool // leaders answer queries under a lease: lease.go

	Members map[uint64]Member
	Leaving map[uint64]Member
	Parting map[uint64]Member // have left the configuration, and that is not proven yet (walk.go)

	// Removed holds the instances of the servers that were removed last. An AddServer may have asked a server who it is
	// before the removal; it must not add that server afterwards, since its file belongs to its old place for good.
	Removed []string

	Version int // of the machine, as the cluster has it: see versions.go

	Level int // the lowest wire.Level that can read all that was logged: see levels.go

	RemovedDead uint64 // how many members were removed since they were dead: see dead.go

	Origins []Origin // of entries that are not applied yet: see origins.go

	SessionBase uint64 // see sessionID

	sessions *sessions // of clients
}

// maxRemoved is how many instances are remembered: far more than can be removed within one deadline.
const maxRemoved = 256

// systemJSON is the form of system in snapshots and in GetServerState: ids are object members there.
type systemJSON struct {
	Timeouts
	Members map[string]Member `json:"members"`
	Leaving map[string]Member `json:"leaving,omitempty"`
	Parting map[string]Member `json:"parting,omitempty"`
	Removed []string          `json:"removed,omitempty"`
	Version int               `json:"version,omitempty"`
	Origins []Origin          `json:"origins,omitempty"`

	Level      int  `json:"level,omitempty"`
	LeaseReads bool `json:"lease_reads,omitempty"`

	RemovedDead uint64 `json:"removed_dead,omitempty"`
	SessionBase uint64 `json:"session_base,omitempty"`

	Sessions []sessionJSON `json:"sessions,omitempty"` // not in GetServerState
}

func newSystem(t Timeouts) *system {
	return &system{Timeouts: t, Members: map[uint64]Member{}, Leaving: map[uint64]Member{}, Parting: map[uint64]Member{}, sessions: newSessions()}
}

// encode is all that is replicated.
func (s *system) encode() json.RawMessage { return s.encodeAll(false) }

// alike is encode without what may differ from server to server: what is hashed.
func (s *system) alike() json.RawMessage { return s.encodeAll(true) }

func (s *system) encodeAll(alike bool) json.RawMessage {
	b := s.encodeMembers()
	if s.sessions.count() > 0 { // they may be many, and are JSON already: nobody need look through them
		b = append(b[:len(b)-1], `,"sessions":`...)
		b = append(s.sessions.append(b, alike), '}')
	}
	return b
}

// encodeMembers is encode without the sessions.
func (s *system) encodeMembers() json.RawMessage {
	b, err := wire.Marshal(systemJSON{s.Timeouts, byName(s.Members), byName(s.Leaving), byName(s.Parting), s.Removed, s.Version, s.Origins, s.Level, s.LeaseReads, s.RemovedDead, s.SessionBase, nil})
	if err != nil {
		panic(fmt.Sprintf("node: encode the member list: %v", err)) // strings and numbers: it can't fail
	}
	return b
}

func decodeSystem(b json.RawMessage) (*system, error) {
	var raw systemJSON
	err := json.Unmarshal(b, &raw)
	if err != nil {
		return nil, fmt.Errorf("node: decode the member list: %w", err)
	}
	s := newSystem(raw.Timeouts)
	s.Removed, s.Version, s.Origins, s.Level, s.RemovedDead = raw.Removed, raw.Version, raw.Origins, raw.Level, raw.RemovedDead
	s.SessionBase, s.LeaseReads = raw.SessionBase, raw.LeaseReads
	for _, list := range []struct {
		from map[string]Member
		to   map[uint64]Member
	}{{raw.Members, s.Members}, {raw.Leaving, s.Leaving}, {raw.Parting, s.Parting}} {
		for name, m := range list.from {
			id, err := strconv.ParseUint(name, 10, 64)
			if err != nil || !validID(id) {
				return nil, fmt.Errorf("node: decode the member list: bad id %.32q", name)
			}
			if !m.Demotion.valid() {
				return nil, fmt.Errorf("node: decode the member list: bad demotion %.32q", m.Demotion)
			}
			list.to[id] = m
		}
	}
	if s.sessions, err = decodeSessions(raw.Sessions); err != nil {
		return nil, fmt.Errorf("node: decode the sessions: %w", err)
	}
	if s.Min == 0 || s.Max < s.Min || s.Max > MaxTimeout {
		return nil, fmt.Errorf("node: decode the member list: bad election timeouts %d, %d", s.Min, s.Max)
	}
	return s, nil
}

func byName(members map[uint64]Member) map[string]Member {
	named := make(map[string]Member, len(members))
	for id, m := range members {
		named[strconv.FormatUint(id, 10)] = m
	}
	return named
}

// ids returns the members' ids, ascending: nothing may depend on the order of a map.
func (s *system) ids() []uint64 { return slices.Sorted(maps.Keys(s.Members)) }

// find returns the id of the member at addr, or 0.
func (s *system) find(addr string) uint64 {
	for _, id := range s.ids() {
		if s.Members[id].Addr == addr {
			return id
		}
	}
	return 0
}

// lookup finds a server by its id, also one that leaves.
func (s *system) lookup(id uint64) (m Member, ok bool) {
	for _, list := range []map[uint64]Member{s.Members, s.Leaving, s.Parting} {
		if m, ok = list[id]; ok {
			break
		}
	}
	return m, ok
}

// left applies a step of the configuration that removes a server: the first one or the second.
func (s *system) left(id uint64) {
	if m, leaving := s.Leaving[id]; leaving {
		s.Parting[id] = m
		delete(s.Leaving, id)
		return
	}
	delete(s.Parting, id)
}

// leavesFrom is the id of the server at addr that may still be needed, or 0; of several the last one that was added.
func (s *system) leavesFrom(addr string) (newest uint64) {
	for _, list := range []map[uint64]Member{s.Leaving, s.Parting} {
		for id, m := range list {
			if m.Addr == addr {
				newest = max(newest, id)
			}
		}
	}
	return newest
}

// leaves tells whether a removed server may still be needed.
func (s *system) leaves(id uint64) bool {
	_, leaving := s.Leaving[id]
	_, parting := s.Parting[id]
	return leaving || parting
}

// add applies an AddServer at index.
func (s *system) add(index uint64, c *wire.AddServer) *jsonrpc.Error {
	for _, id := range s.ids() {
		switch m := s.Members[id]; {
		case m.Addr == c.Addr:
			return ErrServerExists
		case m.Instance == c.Instance: // NB: An instance alone proves nothing: the list does not follow
			return ErrServerExists.Because("it is the member " + m.Addr)
		}
	}
	if c.Instance == "" || slices.Contains(s.Removed, c.Instance) {
		return ErrUnreachable.Because("it was removed from this cluster; delete its file to add it anew")
	}
	if c.Version < s.Version {
		return ErrUnreachable.Because(fmt.Sprintf("its machine is version %d, the cluster's is %d: start it with the new build", c.Version, s.Version))
	}
	s.Members[index] = Member{Addr: c.Addr, Instance: c.Instance, Nonvoter: c.Nonvoter}
	return nil
}

// remove applies a RemoveServer. Voters are those of the Raft configuration applied at the entry's index.
func (s *system) remove(c *wire.RemoveServer, voters []uint64) *jsonrpc.Error {
	gone := s.find(c.Addr)
	if _, member := s.Members[c.ID]; member {
		gone = c.ID
	}
	switch {
	case c.ID != 0 && c.ID != gone:
		return ErrNotMember
	case gone == 0 && s.leavesFrom(c.Addr) != 0:
		return nil // asked for again: it is to be answered when it is true
	case gone == 0:
		return ErrNotMember
	}
	if !s.votesWithout(gone, voters) {
		return ErrLastServer
	}
	if c.ID != 0 && !s.buries(gone, voters) {
		return ErrLastServer
	}
	if c.ID != 0 {
		s.RemovedDead++
	}
	s.Leaving[gone] = s.Members[gone]
	s.Removed = append(s.Removed, s.Members[gone].Instance)
	if len(s.Removed) > maxRemoved {
		s.Removed = slices.Clone(s.Removed[1:])
	}
	delete(s.Members, gone)
	return nil
}

// result is what CreateCluster, AddServer, SetVoter and RemoveServer answer.
func (s *system) result() json.RawMessage {
	addrs := make([]string, 0, len(s.Members))
	for _, id := range s.ids() {
		addrs = append(addrs, s.Members[id].Addr)
	}
	b, err := wire.Marshal(struct {
		Members []string `json:"members"`
	}{addrs})
	if err != nil {
		panic(fmt.Sprintf("node: encode the members: %v", err))
	}
	return b
}

// validID holds for ids that the Raft library can take: not 0, and far from its local targets near 2⁶⁴.
func validID(id uint64) bool { return id != 0 && id < 1<<62 }
