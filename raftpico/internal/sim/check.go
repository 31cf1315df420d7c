package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// checks know what has happened anywhere in a cluster, and compare whatever happens with it.
type checks struct {
	name      string                       // how the cluster's id begins
	leaders   map[uint64]string            // by term: one at most (Raft paper, figure 3)
	entries   map[wire.EntryID]predecessor // every entry that was durable anywhere: Log Matching
	committed []committed                  // from index 1 on: every entry that was applied anywhere
	hashes    map[spot]uint64              // of the machine's history, behind every command
	done      map[int]done                 // commands that were applied anywhere, by the request's id
	never     map[int]int                  // requests that certainly are not applied, and the code that said so
	stated    map[uint64]string            // hashes of the state, by index
	lists     map[uint64]string            // member list and configuration by applied index
	states    map[uint64]string            // what was written of the machine's state, by version
	led       map[uint64]uint64            // by node id: the last term that it led
	history   []*request                   // commands and queries
	seats     seats                        // the places in the cluster
	addrs     map[uint64]string            // of whoever was a member, by node id
	steps     map[wire.EntryID]step        // of the configuration, that were durable anywhere
	spare     map[uint64]bool              // servers whose removal or demotion was acknowledged: nobody may need them any more
	dead      map[wire.EntryID]uint64      // entries that remove a dead member, logged anywhere, and its id
	view      []member                     // those of the highest index
	left      []left                       // places that they have left
	viewIndex uint64
	grants    map[int]done // deferred commands that the machine has answered, by the request's id
	ledger    ledger
	timing    timing
	abandons  abandons
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
	size   int // as sessions count it
}

type member struct {
	node.MemberState
	instance string
	cluster  *checks
}

func newChecks(name string) *checks {
	return &checks{name: name, leaders: map[uint64]string{}, entries: map[wire.EntryID]predecessor{}, hashes: map[spot]uint64{}, done: map[int]done{},
		never: map[int]int{}, lists: map[uint64]string{}, stated: map[uint64]string{}, states: map[uint64]string{}, led: map[uint64]uint64{}, committed: make([]committed, 1),
		addrs: map[uint64]string{}, steps: map[wire.EntryID]step{}, spare: map[uint64]bool{}, dead: map[wire.EntryID]uint64{},
		grants: map[int]done{}, ledger: newLedger(), timing: newTiming(), abandons: newAbandons()}
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
			known, seen := c.entries[id]
			if want := (predecessor{p, before}); seen && known != want {
				s.w.fail("%s logs %v behind term %d at %v, elsewhere there is %v", s, p, before, id, known)
			} else if !seen {
				c.entries[id] = want
			}
			if p.step {
				c.noteStep(s, id, r.LogEntries.Entries[i])
			}
			if !seen && s.w.replicas.rng != nil {
				c.noteDead(s, id, r.LogEntries.Entries[i])
			}
			if s.w.extras.rng != nil {
				c.noteBatch(s, id, r.LogEntries.Entries[i], !seen)
			}
			before = p.term
		}
	}
}

// server is called after every turn. Where nothing was saved, no command applied, and nothing heard that could move a commit
// index, there is neither a new leader nor a new applied index, and most of it is passed over: it takes as long as the turn.
func (c *checks) server(s *server) {
	for _, r := range s.pending {
		if r.cancelled && !r.stands {
			s.w.fail("%s waits no longer, and is not answered", r)
		}
		if r.called > 0 && r.deadline <= s.w.now && r.overran(r.watch != "") {
			s.w.fail("%s is not answered by its deadline", r)
		}
	}
	c.watches(s)
	c.seats.sits(s, s.applied)
	if s.still {
		return
	}
	st := s.node.State()
	if looked := s.local(s.looked - s.began - s.slept); st.AppliedTime > s.base+(looked-s.baseAt).Milliseconds() {
		s.base, s.baseAt = st.AppliedTime, looked
	}
	s.w.fold([]byte{byte(s.slot), byte(st.Term), byte(st.AppliedIndex), st.Role[0]})
	if st.Role == "Leader" {
		c.leads(s, st)
	}
	if h := st.StateHash; h != nil {
		if known, ok := c.stated[h.Index]; ok && known != h.Hash {
			s.w.fail("%s has the state hash %s at %d, others %s", s, h.Hash, h.Index, known)
		} else if ok {
			s.w.result.Compared++
		}
		c.stated[h.Index] = h.Hash
	}
	if st.AppliedIndex < s.applied {
		s.w.fail("%s goes back from index %d to %d", s, s.applied, st.AppliedIndex)
	}
	if st.AppliedIndex > s.applied {
		c.applied(s, st)
	}
	for _, r := range s.pending {
		if r.called > 0 && c.must(r, st.AppliedIndex) && r.overran(c.done[r.id].output == deferred) {
			known, _ := c.outcome(r.id)
			s.w.fail("%s is at %d, and has not answered %s, which was applied: %+v %+v", s, st.AppliedIndex, r, known, c.ledger.attempts[r.tag])
		}
	}
	c.ledger.settle(s.w, false)
}

// failing is called in a server's last turn. It may have won an election, and told others before its disk failed.
func (c *checks) failing(s *server) {
	if st := s.node.State(); st.Role == "Leader" {
		c.leads(s, st)
	}
}

// leads checks a leader: it is the only one of its term, and at its election its log has all that was committed before.
func (c *checks) leads(s *server, st *node.ServerState) {
	term := st.Term
	if c.led[*st.NodeID] == term && s.leads == term {
		return
	}
	who := fmt.Sprintf("%s run %d", s, s.run)
	if old, known := c.leaders[term]; known {
		if old != who {
			s.w.fail("%s leads term %d, as %s did", who, term, old)
		}
		return
	}
	c.leaders[term], c.led[*st.NodeID], s.leads = who, term, term
	c.timing.leader[term] = *st.NodeID
	s.meets("election")
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
	size, count := uint64(0), 0
	for i := max(s.applied, s.disk.base.Index) + 1; i <= st.AppliedIndex; i++ {
		p, ok := s.disk.at(i)
		size, count = size+uint64(p.size), count+1
		switch {
		case !ok:
			s.w.fail("%s applies %d, which is not in its log", s, i)
		case i <= uint64(len(c.committed)):
			if c.committed[i-1].place != p {
				s.w.fail("%s applies %v at %d, others %v", s, p, i, c.committed[i-1])
			}
		case i == uint64(len(c.committed))+1:
			id := wire.EntryID{Term: p.term, Index: i}
			c.ledger.apply(s, id)
			c.committed = append(c.committed, committed{p, st.Term})
			c.timing.applied(s, id, c.ledger.time)
			c.buries(s, id)
		default:
			s.w.fail("%s applies %d, and nobody has applied %d", s, i, len(c.committed)+1)
		}
	}
	if count > 1 && size > s.w.clients.pageSize {
		s.w.result.Paged++
	}
	s.applied = st.AppliedIndex
	c.seats.sits(s, s.applied)
	list := strconv.AppendInt(strconv.AppendInt(s.list[:0], st.AppliedTime, 10), int64(st.Sessions), 10)
	list = strconv.AppendBool(list, st.LeaseReads)
	if own := &c.ledger; s.w.extras.rng != nil && s.applied == uint64(len(c.committed)) && (st.AppliedTime != own.time || st.Sessions != len(own.sessions)) {
		s.w.fail("%s has %d sessions at %d, and the time %d; it must be %d and %d", s, st.Sessions, s.applied, st.AppliedTime, len(own.sessions), own.time)
	}
	for _, m := range st.Members {
		list = append(strconv.AppendUint(append(list, ' '), m.ID, 10), ' ')
		list = append(append(append(list, m.Addr...), ' '), m.Role...)
	}
	s.list = list
	if known, ok := c.lists[s.applied]; !ok {
		c.lists[s.applied] = string(list)
		for i, m := range st.Members {
			if m.Role != "Leaving" && slices.ContainsFunc(st.Members[:i], func(o node.MemberState) bool { return o.Addr == m.Addr && o.Role != "Leaving" }) {
				s.w.fail("%s has two members at %s", s, m.Addr)
			}
			c.addrs[m.ID] = m.Addr
		}
	} else if known != string(list) {
		s.w.fail("%s has members %s at %d, others %s", s, list, s.applied, known)
	}
	if s.applied > c.viewIndex {
		before := c.view
		c.viewIndex, c.view = s.applied, nil
		peers := s.node.Peers()
		for _, m := range st.Members {
			v := member{m, s.instance, c}
			if i := slices.IndexFunc(peers, func(p node.Peer) bool { return p.ID == m.ID }); i >= 0 {
				v.instance = peers[i].Instance
			}
			c.view = append(c.view, v)
		}
		c.noteLeft(s.w, before)
		c.seats.note(s, st.Members, peers)
	}
}

// upkeep is called when a machine has done something: the hash is that of its history.
func (c *checks) upkeep(s *server, at spot, hash uint64) {
	known, ok := c.hashes[at]
	if ok && known != hash || !ok && at.index <= uint64(len(c.committed)) {
		s.w.fail("%s has another state behind %v than others", s, at)
	}
	c.hashes[at] = hash
}

// command is called when a machine has applied a command.
func (c *checks) command(s *server, id int, index uint64, offset int, hash uint64, output string, size int) {
	at := spot{index, offset}
	c.upkeep(s, at, hash)
	known, ok := c.done[id]
	if ok && known.spot != at {
		s.w.fail("%s applies request %d at %v, it was applied at %v", s, id, at, known.spot)
	}
	if !ok {
		s.w.clients.stamp++
		c.done[id] = done{at, s.w.clients.stamp, output, size}
	}
	if code := c.never[id]; code != 0 {
		s.w.fail("%s applies request %d, which was answered %d", s, id, code)
	}
}

// state is called with what a machine has written of its state, and with what one has read.
func (c *checks) state(s *server, version uint64, text string) {
	if known, ok := c.states[version]; ok && known != text {
		s.w.fail("%s has the state %s, others %s", s, text, known)
	}
	c.states[version] = text
}

// alive tells whether a member's file is still there. NB: A file may be added, removed, and added again by a request
// that has asked it before it knew of the first; it will never take the second place. Nor does one that has moved take its
// place before it was told of it.
func (m *member) alive(w *world) bool {
	s := w.withFile(m.instance)
	if s != nil && w.founding.blank(s) && m.cluster == w.away {
		return false // it may have promised to create the other one
	}
	return s != nil && (s.disk.identity.NodeID == 0 && s.addr == m.Addr || s.disk.identity.NodeID == m.ID && s.cluster() == m.cluster)
}

// members are the servers on the member list whose files are still there.
func (c *checks) members(w *world) []*server {
	var all []*server
	for _, m := range c.view {
		if m.Role != "Leaving" && m.alive(w) {
			all = append(all, w.withFile(m.instance))
		}
	}
	return all
}

// settled checks that the cluster has come to rest: a leader, every member what it is to be, nobody leaving, and whoever was
// removed knows it if it can.
func (c *checks) settled(w *world) {
	leaders := 0
	for _, m := range c.view {
		if m.Role != "Voter" && !m.forGood() && (m.alive(w) || m.Role == "Leaving") {
			w.fail("member %d at %s is %s in the end", m.ID, m.Addr, m.Role)
		}
	}
	members := c.members(w)
	for _, m := range c.view {
		// NB: One that is gone, and has not told which release it runs, holds the list up.
		if m.Role != "Leaving" && len(members) == len(c.view) && m.Addr != w.withFile(m.instance).addr {
			w.fail("member %d is listed at %s in the end, and is at %s", m.ID, m.Addr, w.withFile(m.instance).addr)
		}
		w.tracef("in the end, at %d: %s as server %d at %s is a %s", c.viewIndex, m.instance, m.ID, m.Addr, m.Role)
	}
	for _, s := range w.servers {
		st := s.node.State()
		if slices.Contains(members, s) {
			if st.Role == "Leader" {
				leaders++
			}
			continue
		}
		if s.cluster() != c {
			continue
		}
		knows := slices.ContainsFunc(s.node.Peers(), func(p node.Peer) bool {
			return slices.ContainsFunc(members, func(m *server) bool { return m.instance == p.Instance })
		})
		// NB: One that does not vote is silent, so nobody tells it while its links live; see the package comment.
		votes := slices.ContainsFunc(st.Members, func(m node.MemberState) bool { return st.NodeID != nil && m.ID == *st.NodeID && m.Role == "Voter" })
		if st.NodeID != nil && !st.Removed && knows && votes {
			w.fail("%s is no member, and does not know it", s)
		}
	}
	if leaders != 1 {
		w.fail("there are %d leaders in the end", leaders)
	}
}

// comeLevel gives a moment to those who have not applied the last entry: a cluster compares the states of its members now and then.
func (c *checks) comeLevel(w *world) {
	for range 10 {
		if !slices.ContainsFunc(c.members(w), func(s *server) bool { return s.applied != c.viewIndex }) {
			return
		}
		w.runUntil(w.now + 20*time.Millisecond)
	}
}

// alike checks that all members have the same state in the end, with all that was acknowledged.
func (c *checks) alike(w *world) {
	members := c.members(w)
	w.upgrades.settled(c, members)
	for _, s := range members {
		if s.applied != c.viewIndex || s.m.state.Hash != members[0].m.state.Hash || s.m.state.Time != members[0].m.state.Time {
			w.fail("%s is at %d with %+v, %s at %d with %+v, in the end", s, s.applied, s.m.state, members[0], members[0].applied, members[0].m.state)
		}
	}
	for _, r := range c.history {
		if r.request.Kind == machine.Command && r.answered && r.err == nil && c.done[r.id].index > c.viewIndex {
			w.fail("%s was acknowledged, and is lost", r)
		}
	}
}
