package main

import (
	"net/http"
	"strings"

	"github.com/raftpico/go/serve"
)

// places are what is known beforehand of the servers of a cluster, by their addresses. Nil is nothing.
type places map[string]place

// place is where a server is for those who use HTTP.
type place struct {
	name string // empty: its address is its name
	http string // host:port of its page; empty: not known
}

// name is that of the server at an address.
func (p places) name(addr string) string {
	if name := p[addr].name; name != "" {
		return name
	}
	return addr
}

// console is the URL of the console of the server at an address; empty if its page is not known.
func (p places) console(addr string) string {
	if at := p[addr].http; at != "" {
		return "http://" + at + serve.ConsolePath
	}
	return ""
}

// status is what GET /api/status answers: the server as it is, by what it knows itself.
type status struct {
	Node        string            `json:"node"`
	Role        string            `json:"role"`          // LEADER, FOLLOWER, CANDIDATE, PRECANDIDATE or LEARNER
	Leader      string            `json:"currentLeader"` // empty: not known
	Term        uint64            `json:"currentTerm"`
	CommitIndex uint64            `json:"commitIndex"`
	LastApplied uint64            `json:"lastApplied"`
	LogCount    uint64            `json:"logCount"`             // entries behind the snapshot
	MatchIndex  map[string]uint64 `json:"matchIndex,omitempty"` // on the leader, by name

	Addr          string   `json:"addr"`  // where it speaks JSON-RPC
	Ready         bool     `json:"ready"` // it knows the leader, and had caught up
	Members       []member `json:"members"`
	SnapshotIndex uint64   `json:"snapshotIndex"`
	LogBytes      int64    `json:"logBytes"`      // of its log file
	SnapshotBytes int64    `json:"snapshotBytes"` // of these, the snapshot
}

// member is a member of the cluster as the server sees it.
type member struct {
	Name     string  `json:"name"`
	Addr     string  `json:"addr"`
	HTTP     string  `json:"http,omitempty"` // host:port of its page, where that is known
	Role     string  `json:"role"`           // Voter, Learner, Joining or Leaving
	Leader   bool    `json:"leader"`
	Self     bool    `json:"self"`
	Linked   bool    `json:"linked"`             // the server asked has a link to it, or is it
	Behind   *uint64 `json:"behind,omitempty"`   // on the leader: entries of its log that the member does not have
	LogBytes *int64  `json:"logBytes,omitempty"` // of its log file, where it is known
}

// status asks the server alone: also one without a leader answers.
func (f *front) status(r *http.Request) (any, error) {
	state, err := f.server.State(r.Context(), false)
	if err != nil {
		return nil, err
	}
	linked := map[string]bool{}
	for _, m := range f.server.Status().Members {
		linked[m.Addr] = m.Linked
	}
	s := status{
		Node: f.places.name(state.Addr), Role: strings.ToUpper(state.Role), Term: state.Term,
		CommitIndex: state.CommitIndex, LastApplied: state.AppliedIndex, LogCount: state.LastIndex - state.Snapshot.Index,
		Addr: state.Addr, Ready: f.server.Status().Ready, Members: []member{},
		SnapshotIndex: state.Snapshot.Index, LogBytes: state.Log.Bytes, SnapshotBytes: state.Log.SnapshotBytes,
	}
	if state.Leader != "" {
		s.Leader = f.places.name(state.Leader)
	}
	for _, m := range state.Members {
		self := m.Addr == state.Addr
		it := member{Name: f.places.name(m.Addr), Addr: m.Addr, HTTP: f.places[m.Addr].http, Role: m.Role, Leader: m.Addr == state.Leader,
			Self: self, Linked: self || linked[m.Addr], LogBytes: m.LogBytes}
		if m.Match != nil {
			if s.MatchIndex == nil {
				s.MatchIndex = map[string]uint64{}
			}
			s.MatchIndex[it.Name] = *m.Match
			behind := state.LastIndex - min(*m.Match, state.LastIndex)
			it.Behind = &behind
		}
		s.Members = append(s.Members, it)
	}
	return s, nil
}
