package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// timing is what must be true of timers, and of queries that wait:
//
//	a Timer entry is logged by the leader of its term, who wants it itself, and one at a time
//	behind it applied time is not before its moment, which is not ahead of the leader's clock
//	an alarm goes off once, at the same place everywhere, not before its time (timed.go), and soon, without faults
//	nobody logs one that nothing is done at, while nobody asks for anything (ledger.go)
//	a watch is answered soon when its key was changed here, whatever became of the server's state meanwhile
type timing struct {
	moments map[int]int64                // of alarms, when they were armed, by id
	fired   map[int]spot                 // alarms that went off, by id
	timers  map[wire.EntryID]*wire.Batch // Timer entries, logged anywhere
	ran     map[uint64]bool              // entries in which the machine's timer ran
	leader  map[uint64]uint64            // node id by term
}

// soon is how long something that is due may take in a cluster without faults.
const soon = time.Second

// soonTurns is how many turns of its server a watch may take that could be answered.
const soonTurns = 12

func newTiming() timing {
	return timing{moments: map[int]int64{}, fired: map[int]spot{}, timers: map[wire.EntryID]*wire.Batch{},
		ran: map[uint64]bool{}, leader: map[uint64]uint64{}}
}

// armed is called by the machine.
func (t *timing) armed(_ *server, id int, at int64) { t.moments[id] = at }

// fires is called by the machine.
func (t *timing) fires(s *server, id int, at int64, ctx *machine.Context) {
	here := spot{ctx.Index, ctx.Offset}
	if known, ok := t.fired[id]; ok && known != here {
		s.w.fail("%s: alarm %d goes off at %v, as it did at %v", s, id, here, known)
	}
	if _, ok := t.moments[id]; !ok {
		s.w.fail("%s: alarm %d goes off at %v, %d, and nobody has set it", s, id, here, at)
	}
	t.fired[id] = here
}

// noteBatch notes what an entry holds that is durable on a server. Fresh: it was nowhere before.
func (c *checks) noteBatch(s *server, id wire.EntryID, e *raftpb.Entry, fresh bool) {
	if !fresh {
		c.timing.logged(s, id, nil)
		return
	}
	if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
		return
	}
	b, err := wire.DecodeBatch(e.GetData())
	if err != nil {
		s.w.fail("%s logs %v: %v", s, id, err)
	}
	c.ledger.batches[id] = b
	s.w.moves.logged(s, b)
	c.timing.logged(s, id, b)
}

// logged is called when a batch is durable on a server.
func (t *timing) logged(s *server, id wire.EntryID, b *wire.Batch) {
	if t.timers[id] == nil {
		if b == nil || b.Commands[0].System == nil || b.Commands[0].System.Timer == nil {
			return
		}
		t.timers[id] = b
	}
	b = t.timers[id]
	if b.From != s.disk.identity.NodeID || b.Boot != s.boot() {
		return
	}
	if s.timer.Term == id.Term && s.timer.Index > s.node.State().AppliedIndex {
		s.w.fail("%s logs a timer at %v, and the one at %v is not applied", s, id, s.timer)
	}
	s.timer = id
	late := s.leaderTime() + 2*s.shaky.Milliseconds() + 1
	if at := b.Commands[0].System.Timer.At; at > late && s.jumped+2*time.Second < s.w.now {
		s.w.fail("%s logs a timer at %v for %d, and it is %d", s, id, at, s.leaderTime())
	}
}

// applied is called when a server is the first to have applied an entry.
func (t *timing) applied(s *server, id wire.EntryID, time int64) {
	b := t.timers[id]
	if b == nil {
		return
	}
	s.w.result.Seen["timer entry"]++
	if leader, known := t.leader[id.Term]; known && b.From != leader {
		s.w.fail("%s applies the timer at %v, which server %d wanted, and server %d led", s, id, b.From, leader)
	}
	if at := b.Commands[0].System.Timer.At; time < at {
		s.w.fail("%s applies the timer at %v for %d, and the time is %d", s, id, at, time)
	}
}

// leaderTime is the time that the server gives to entries if it leads.
func (s *server) leaderTime() int64 {
	return max(s.wall().UnixMilli(), s.base+(s.elapsed()-s.baseAt).Milliseconds())
}

// wall is the time by the server's wall clock, as it was read in this turn.
func (s *server) wall() time.Time {
	return time.UnixMilli(1_700_000_000_000).Add(s.w.now + s.skew + s.trembles)
}

// idle checks a cluster that nobody asks for anything: it does what is due, and nothing else (see ledger.needed). A
// little is made to come due first.
func (c *checks) idle(w *world) {
	if w.extras.rng == nil {
		return
	}
	s := c.members(w)[0]
	w.clients.ask(s, machine.Command, "arm 700")
	w.clients.ask(s, machine.Command, "hold quiet 900")
	w.clients.ids++
	w.clients.send(&request{id: w.clients.ids, server: s, request: node.Request{Op: node.OpenSession, TTL: node.MinTTL}})
	w.runUntil(w.now + soon/2)
	c.ledger.quiet = true
	w.runUntil(w.now + 2*soon)
	c.ledger.quiet = false
	for _, s := range c.members(w) {
		if st := s.node.State(); st.Role != "Leader" {
			continue
		}
		now := s.leaderTime() - soon.Milliseconds()
		if at, lock, some := s.m.state.due(); some && at < now {
			w.fail("%s leads, and the alarm or lock %q was due at %d, it is %d", s, lock, at, s.leaderTime())
		}
		for id, a := range c.ledger.sessions {
			if a.end() < now {
				w.fail("%s leads, and session %d ended at %d, it is %d", s, id, a.end(), s.leaderTime())
			}
		}
	}
	c.ledger.settle(w, true)
}

// watches checks the queries that wait on a server: none waits for what has come.
func (c *checks) watches(s *server) {
	for _, r := range s.pending {
		if r.watch == "" || !s.m.parked[r.id] {
			continue
		}
		if s.m.state.Changed[r.watch] == r.from {
			r.overdue = 0
		} else if r.overdue++; r.overdue > soonTurns {
			s.w.fail("%s waits at %s, and the key was changed by version %d", r, s, s.m.state.Changed[r.watch])
		}
	}
}

// meets counts how often something happens to a server whose machine has something to do later.
func (s *server) meets(what string) {
	m, seen := s.m, s.w.result.Seen
	if len(m.state.Alarms) > 0 {
		seen[what+" while armed"]++
	}
	if len(m.parked) > 0 {
		seen[what+" while queries wait"]++
	}
	for _, l := range m.state.Locks {
		if len(l.Queue) > 0 {
			seen[what+" while deferred"]++
			break
		}
	}
	if s.node.State().Sessions > 0 {
		seen[what+" with sessions"]++
	}
}

// overran tells whether what must be answered still is not. What waits for the machine may take some turns, if those
// take long.
func (r *request) overran(waited bool) bool {
	if !waited {
		return true
	}
	r.late++
	return r.late > soonTurns
}

// watched checks the answer to a watch.
func (c *checks) watched(r *request) {
	w := r.server.w
	if r.changed == r.from && w.now+2*time.Millisecond < r.deadline {
		w.fail("%s was answered %d %s, which is no news, %v before its deadline", r, r.changed, r.output, r.deadline-w.now)
	}
	if r.changed == r.from {
		w.result.Seen["watch in vain"]++
	} else {
		w.result.Seen["watch"]++
	}
}
