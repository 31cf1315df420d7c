package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// checks know what has happened anywhere, and compare whatever happens with it.
type checks struct {
	leaders   map[uint64]string            // by term: one at most (Raft paper, figure 3)
	entries   map[wire.EntryID]predecessor // every entry that was durable anywhere: Log Matching
	committed []committed                  // from index 1 on: every entry that was applied anywhere
	hashes    map[spot]uint64              // of the machine's history, behind every command
	done      map[int]done                 // commands that were applied anywhere, by the request's id
	never     map[int]int                  // requests that certainly are not applied, and the code that said so
	states    map[uint64]string            // member list and configuration by applied index
	view      []member                     // those of the highest index
	viewIndex uint64
}

// predecessor is an entry, and the term of the one before.
type predecessor struct {
	place
	before uint64
}

type committed struct {
	place
	seen uint64 // a term in which it was known to be committed
}

// spot is the place of a command.
type spot struct {
	index  uint64
	offset int
}

// done is what became of a command: when it was first applied, and its output.
type done struct {
	spot
	stamp  int64
	output string
}

type member struct {
	node.MemberState
	instance string
}

func (c *checks) begin() {
	*c = checks{leaders: map[uint64]string{}, entries: map[wire.EntryID]predecessor{}, hashes: map[spot]uint64{}, done: map[int]done{},
		never: map[int]int{}, states: map[uint64]string{}, committed: make([]committed, 1)}
}

// logged is called when records are durable.
func (c *checks) logged(s *server, records []*wire.Record) {
	for _, r := range records {
		if r.LogEntries == nil {
			continue
		}
		before := r.LogEntries.Prev.Term
		for i, p := range places(r.LogEntries.Entries) {
			id := wire.EntryID{Term: p.term, Index: r.LogEntries.Prev.Index + 1 + uint64(i)}
			if known, ok := c.entries[id]; ok && known != (predecessor{p, before}) {
				s.w.fail("%s logs %v behind term %d at %v, elsewhere there is %v", s, p, before, id, known)
			}
			c.entries[id] = predecessor{p, before}
			before = p.term
		}
	}
}

// server is called after every turn.
func (c *checks) server(s *server) {
	for _, r := range s.pending {
		if r.called > 0 && r.deadline <= s.w.now {
			s.w.fail("%s is not answered by its deadline", r)
		}
	}
	st := s.node.State()
	s.w.fold([]byte{byte(s.slot), byte(st.Term), byte(st.AppliedIndex), st.Role[0]})
	if st.Role == "Leader" {
		c.leads(s, st.Term)
	}
	if st.AppliedIndex < s.applied {
		s.w.fail("%s goes back from index %d to %d", s, s.applied, st.AppliedIndex)
	}
	if st.AppliedIndex > s.applied {
		c.applied(s, st)
	}
}

// leads checks a leader: it is the only one of its term, and at its election its log has all that was committed before.
func (c *checks) leads(s *server, term uint64) {
	who := fmt.Sprintf("%s run %d", s, s.run)
	if old, known := c.leaders[term]; known {
		if old != who {
			s.w.fail("%s leads term %d, as %s did", who, term, old)
		}
		return
	}
	c.leaders[term] = who
	s.w.result.Terms++
	s.w.tracef("%s leads term %d", s, term)
	for i := s.disk.base.Index + 1; i <= uint64(len(c.committed)); i++ {
		must := c.committed[i-1]
		if has, _ := s.disk.at(i); must.seen < term && must.place != has {
			s.w.fail("%s leads term %d without the committed entry %d: %v rather than %v", s, term, i, has, must)
		}
	}
}

// applied checks what a server has applied since the last turn.
func (c *checks) applied(s *server, st *node.ServerState) {
	for i := max(s.applied, s.disk.base.Index) + 1; i <= st.AppliedIndex; i++ {
		p, ok := s.disk.at(i)
		switch {
		case !ok:
			s.w.fail("%s applies %d, which is not in its log", s, i)
		case i <= uint64(len(c.committed)):
			if c.committed[i-1].place != p {
				s.w.fail("%s applies %v at %d, others %v", s, p, i, c.committed[i-1])
			}
		case i == uint64(len(c.committed))+1:
			c.committed = append(c.committed, committed{p, st.Term})
		default:
			s.w.fail("%s applies %d, and nobody has applied %d", s, i, len(c.committed)+1)
		}
	}
	s.applied = st.AppliedIndex
	var state strings.Builder
	for _, m := range st.Members {
		fmt.Fprintf(&state, "%d %s %s, ", m.ID, m.Addr, m.Role)
	}
	if known, ok := c.states[s.applied]; ok && known != state.String() {
		s.w.fail("%s has members %s at %d, others %s", s, state.String(), s.applied, known)
	}
	c.states[s.applied] = state.String()
	if s.applied > c.viewIndex {
		c.viewIndex, c.view = s.applied, nil
		peers := s.node.Peers()
		for _, m := range st.Members {
			v := member{m, s.instance}
			if i := slices.IndexFunc(peers, func(p node.Peer) bool { return p.ID == m.ID }); i >= 0 {
				v.instance = peers[i].Instance
			}
			c.view = append(c.view, v)
		}
	}
}

// command is called when a machine has applied a command.
func (c *checks) command(s *server, id int, index uint64, offset int, hash uint64, output string) {
	at := spot{index, offset}
	if known, ok := c.hashes[at]; ok && known != hash {
		s.w.fail("%s has another state behind %v than others", s, at)
	}
	c.hashes[at] = hash
	known, ok := c.done[id]
	if ok && known.spot != at {
		s.w.fail("%s applies request %d at %v, it was applied at %v", s, id, at, known.spot)
	}
	if !ok {
		s.w.clients.stamp++
		c.done[id] = done{at, s.w.clients.stamp, output}
	}
	if code := c.never[id]; code != 0 {
		s.w.fail("%s applies request %d, which was answered %d", s, id, code)
	}
}

// result checks the answer to a command or a query.
func (c *checks) result(r *request) {
	s, w := r.server, r.server.w
	if r.request.Kind == machine.LocalQuery {
		if r.version < s.answered {
			w.fail("%s sees version %d, and %d was answered before", r, r.version, s.answered)
		}
		return
	}
	s.answered = max(s.answered, r.version)
	if r.request.Kind != machine.Command {
		return
	}
	if known, ok := c.done[r.id]; !ok || known.output != r.output {
		w.fail("%s has the result %q, applied it was with %v", r, r.output, known)
	}
	for _, other := range w.clients.burst[max(r.client, 0)] {
		if r.client == other.client && other.request.Kind == machine.Command && other.version > 0 && (other.id < r.id) != (other.version < r.version) {
			w.fail("%s was applied as number %d, and %s as number %d", r, r.version, other, other.version)
		}
	}
}

// refusal checks the error of a command or a query.
func (c *checks) refusal(r *request) {
	w, code := r.server.w, r.err.Code
	bad := strings.HasSuffix(string(r.request.Input), ` bad"`)
	switch {
	case code == 107 && r.request.Kind == machine.Command:
		return
	case code == 103 && bad, code == 102, code == 106, code == 108, code == 110:
	default:
		w.fail("%s was answered %v", r, r.err)
	}
	if known, ok := c.done[r.id]; ok {
		w.fail("%s was answered %v, and was applied at %v", r, r.err, known.spot)
	}
	c.never[r.id] = code
}

// changed checks the answer to a request of the operator.
func (c *checks) changed(r *request, result json.RawMessage) {
	if r.err != nil {
		if !slices.Contains([]int{100, 101, 102, 106, 107, 108, 109, 110, 112}, r.err.Code) && (r.request.Op != node.TakeSnapshot || r.err.Code != jsonrpc.ErrInternal.Code) {
			r.server.w.fail("%s was answered %v", r, r.err)
		}
		return
	}
	if r.request.Op == node.TakeSnapshot {
		var taken struct {
			Index uint64 `json:"snapshot_index"`
		}
		if err := json.Unmarshal(result, &taken); err != nil || taken.Index == 0 || taken.Index > r.server.disk.snapshot {
			r.server.w.fail("%s was answered %s, and the snapshot in the file is at %d", r, result, r.server.disk.snapshot)
		}
		return
	}
	listed := strings.Contains(string(result), `"`+r.request.Addr+`"`)
	if op := r.request.Op; op == node.AddServer && !listed || op == node.RemoveServer && listed {
		r.server.w.fail("%s was answered %s", r, result)
	}
}

// alive tells whether a member's file is still there. NB: A file may be added, removed, and added again by a request
// that has asked it before it knew of the first; it will never take the second place.
func (m *member) alive(w *world) bool {
	s := w.net.byAddr(m.Addr)
	return s.instance == m.instance && (s.disk.identity.NodeID == 0 || s.disk.identity.NodeID == m.ID)
}

// members are the servers on the member list whose files are still there.
func (c *checks) members(w *world) []*server {
	var all []*server
	for _, m := range c.view {
		if m.Role != "Leaving" && m.alive(w) {
			all = append(all, w.net.byAddr(m.Addr))
		}
	}
	return all
}

// quorumLost tells whether so many voters were wiped that the cluster can't go on. One that is leaving may be a voter.
func (c *checks) quorumLost(w *world) bool {
	var voters, alive, leaving, leavingAlive int
	for _, m := range c.view {
		here := 0
		if m.alive(w) {
			here = 1
		}
		switch m.Role {
		case "Voter":
			voters, alive = voters+1, alive+here
		case "Leaving":
			leaving, leavingAlive = leaving+1, leavingAlive+here
		}
	}
	return 2*alive <= voters || 2*(alive+leavingAlive) <= voters+leaving
}

// settled checks that the cluster has come to rest: a leader, every member a voter, nobody leaving, and whoever was
// removed knows it if it can.
func (c *checks) settled(w *world) {
	leaders := 0
	for _, m := range c.view {
		if m.Role != "Voter" && (m.alive(w) || m.Role == "Leaving") {
			w.fail("member %d at %s is %s in the end", m.ID, m.Addr, m.Role)
		}
	}
	members := c.members(w)
	w.tracef("in the end, at %d: %+v", c.viewIndex, c.view)
	for _, s := range w.servers {
		st := s.node.State()
		if slices.Contains(members, s) {
			if st.Role == "Leader" {
				leaders++
			}
			continue
		}
		knows := slices.ContainsFunc(s.node.Peers(), func(p node.Peer) bool {
			return slices.ContainsFunc(members, func(m *server) bool { return m.addr == p.Addr && m.instance == p.Instance })
		})
		// NB: One that does not vote is silent, so nobody tells it while its links live; see the package comment.
		votes := slices.ContainsFunc(st.Members, func(m node.MemberState) bool { return m.Addr == s.addr && m.Role == "Voter" })
		if st.NodeID != nil && !st.Removed && knows && votes {
			w.fail("%s is no member, and does not know it", s)
		}
	}
	if leaders != 1 {
		w.fail("there are %d leaders in the end", leaders)
	}
}

// alike checks that all members have the same state in the end, with all that was acknowledged.
func (c *checks) alike(w *world) {
	members := c.members(w)
	for _, s := range members {
		if s.applied != c.viewIndex || s.m.state.Hash != members[0].m.state.Hash || s.m.state.Time != members[0].m.state.Time {
			w.fail("%s is at %d with %+v, %s at %d with %+v, in the end", s, s.applied, s.m.state, members[0], members[0].applied, members[0].m.state)
		}
	}
	for _, r := range w.clients.history {
		if r.request.Kind == machine.Command && r.answered && r.err == nil && c.done[r.id].index > c.viewIndex {
			w.fail("%s was acknowledged, and is lost", r)
		}
	}
}
