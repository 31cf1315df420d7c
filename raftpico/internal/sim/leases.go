package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// leases are clusters whose leaders read under leases, on clocks that go at different rates, with faults that make stale reads
// likely where a rule is broken. There are worlds without them. That no read is stale is checked of all queries, see fresh.
type leases struct {
	w       *world
	rng     *rand.Rand // nil: there are none. Its own, so that worlds without them stay what they were
	drift   float64    // how much too fast or slow the servers' clocks go, at most
	always  bool       // a cluster is created so
	quiet   bool       // clients write nothing
	stalled bool       // a server stands still in the middle of a turn
}

// withinBound is a drift that leases allow for: the fastest clock goes 1.1/0.9 = 1.22 times as fast as the slowest, and they bear 1.25.
const withinBound = 0.1

func (l *leases) begin(w *world) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 8))
	*l = leases{w: w}
	if w.cfg.Load != nil || w.cfg.Drift == 0 && rng.IntN(3) > 0 {
		return
	}
	l.rng, l.drift = rng, withinBound
	if w.cfg.Drift != 0 {
		l.drift = w.cfg.Drift
	}
	l.always = l.chance(0.8)
	w.after(2*time.Second+l.about(time.Second), l.act)
	if !l.always || w.levels.rng != nil || l.chance(0.3) {
		w.after(time.Second+l.about(time.Second), l.configure)
	}
}

// equip gives a server its clocks.
func (l *leases) equip(s *server) {
	if l.rng == nil {
		return
	}
	rate := l.drift
	if l.chance(0.5) { // otherwise it is one of those that matter most
		rate *= l.rng.Float64()
	}
	if l.chance(0.5) {
		rate = -rate
	}
	s.rate, s.booted, s.none = rate, -time.Duration(l.rng.Int64N(int64(1000*time.Hour))), l.chance(0.04)
}

func (l *leases) chance(p float64) bool { return l.rng.Float64() < p }

func (l *leases) about(d time.Duration) time.Duration {
	return time.Duration(min(l.rng.ExpFloat64(), 8) * float64(d))
}

// between draws a duration.
func (l *leases) between(from, to float64, of time.Duration) time.Duration {
	return time.Duration((from + l.rng.Float64()*(to-from)) * float64(of))
}

// least is the shortest election timeout: about how long leases and promises last.
func (l *leases) least() time.Duration {
	return time.Duration(l.w.faults.create.Timeouts.Min) * time.Millisecond
}

// creates is a request by which a server creates a cluster.
func (l *leases) creates(s *server, r node.Request) node.Request {
	r.Leases = node.Choose(l.rng != nil && l.always && !l.w.levels.old(s))
	return r
}

// configure lets the operators turn leases on and off.
func (l *leases) configure() {
	if l.w.faults.stopped {
		return
	}
	l.w.after(l.about(4*time.Second), l.configure)
	c := l.w.clusters()[l.rng.IntN(len(l.w.clusters()))]
	if members := c.members(l.w); len(members) > 0 {
		s := members[l.rng.IntN(len(members))]
		l.w.clients.operator(s, node.Request{Op: node.Configure, Leases: node.Choose(l.chance(0.7))})
	}
}

// act lets one thing go wrong, now and then. Whatever it cuts is healed.
func (l *leases) act() {
	if l.w.faults.stopped {
		return
	}
	l.w.after(6*l.least()+l.about(l.w.faults.pause), l.act)
	leader := l.leader()
	if leader == nil || leader.stalled {
		return
	}
	voters := l.voters(leader)
	l.rng.Shuffle(len(voters), func(i, j int) { voters[i], voters[j] = voters[j], voters[i] })
	l.quiet = false
	kind := hardships[l.rng.IntN(len(hardships))]
	l.w.tracef("--- %s: %s", leader, kind.name)
	if kind.do(l, leader, voters) {
		l.w.result.Faults[kind.name]++
		l.w.after(l.between(3, 6, l.least()), l.w.net.heal)
	}
}

// leader is the server that leads the cluster by what all know.
func (l *leases) leader() (leader *server) {
	last := uint64(0)
	for _, s := range l.w.servers {
		if s.node == nil || s.cluster() != l.w.home {
			continue
		}
		if st := s.node.State(); st.Role == "Leader" && st.Term > last {
			leader, last = s, st.Term
		}
	}
	return leader
}

// voters are those of a leader's cluster that run, without itself.
func (l *leases) voters(leader *server) (voters []*server) {
	for _, m := range leader.node.State().Members {
		s := leader.cluster().seated(l.w, m.ID)
		if m.Role == "Voter" && s != nil && s != leader && s.node != nil {
			voters = append(voters, s)
		}
	}
	return voters
}

// hardships are what makes stale reads likely. Voters are those without the leader, in any order. They report false if there was
// nothing to do.
var hardships = []struct {
	name string
	do   func(l *leases, leader *server, voters []*server) bool
}{
	{"late echo", (*leases).lateEcho},
	{"lease from few", (*leases).breakable},
	{"lease from few", (*leases).breakable},
	{"old leader is not told", (*leases).handOver},
	{"old leader with few", (*leases).minority},
	{"sleep", (*leases).sleep},
	{"standstill in a turn", (*leases).standstill},
}

// lateEcho lets what a voter says reach the leader only when another leads, perhaps.
func (l *leases) lateEcho(leader *server, voters []*server) bool {
	if len(voters) == 0 {
		return false
	}
	late := voters[:1+l.rng.IntN(len(voters))]
	l.w.net.hush(late, []*server{leader})
	cut := l.between(0.1, 0.9, l.least())
	l.later(cut, func() { l.isolate(leader) })
	l.w.after(cut+l.between(1.1, 2, l.least()), func() {
		for _, s := range late {
			l.w.net.mend(s, leader)
		}
	})
	l.storm(leader, cut+l.least(), cut+3*l.least())
	return true
}

// breakable cuts a leader off whose lease comes from some voters alone, while others ask these for their votes. Those who pledged
// themselves are started anew just then, or have stood still in the turn in which they did so. NB: Nobody writes before. Those
// who ask would get no votes if they had missed something.
func (l *leases) breakable(leader *server, voters []*server) bool {
	promised := (len(voters) + 1) / 2 // with the leader they are a majority
	if len(voters) < 2 {
		return false
	}
	hear, wait := voters[:promised], voters[promised:]
	l.quiet = true
	l.later(l.least()/2, func() {
		l.w.net.hush([]*server{leader}, wait)
		l.w.net.hush(wait, []*server{leader})
	})
	cut, stands := l.between(2, 3, l.least()), l.between(0.3, 0.8, l.least())
	if l.chance(0.3) {
		l.later(cut-stands, func() { hear[0].stalls = stall{1, stands} })
		cut += 6 * l.w.net.delay // the leader hears what is said then
	} else {
		l.later(cut, func() {
			for i, s := range hear {
				if s.node != nil && !s.stalled && (i == 0 || l.chance(0.8)) {
					s.hasty = true
					s.kill()
				}
			}
		})
	}
	l.w.after(cut, func() { l.quiet = false })
	l.later(cut, func() { l.isolate(leader) })
	l.storm(leader, cut, cut+3*l.least()/2)
	return true
}

// handOver lets a leader hand leadership over and hear no more.
func (l *leases) handOver(leader *server, voters []*server) bool {
	if len(voters) == 0 {
		return false
	}
	leader.post(func() { leader.node.HandOver() })
	deaf := func() { l.w.net.hush(l.others(leader), []*server{leader}) }
	if l.chance(0.5) {
		deaf()
	} else {
		l.later(l.about(l.w.net.delay), deaf)
	}
	l.storm(leader, 0, 2*l.least())
	return true
}

// minority leaves a leader alone, or with one other, who is to lose its vote perhaps.
func (l *leases) minority(leader *server, voters []*server) bool {
	if len(voters) == 0 {
		return false
	}
	s, cut := l.w.replicas.learners(l.w, leader, voters[0])[0], time.Duration(0)
	if s == voters[0] && len(voters) > 1 && l.chance(0.3) {
		cut = l.about(10 * l.w.net.delay)
		change := node.Request{Op: node.RemoveServer, Addr: s.addr}
		if l.w.replicas.rng != nil && l.chance(0.5) {
			change = node.Request{Op: node.SetVoter, Addr: s.addr, Voter: new(false)}
		}
		l.w.clients.operator(leader, change)
	}
	some := []*server{leader, s}
	if l.chance(0.3) {
		some = some[:1]
	}
	l.later(cut, func() { l.isolate(some...) })
	l.storm(leader, cut+l.least()/2, cut+4*l.least())
	return true
}

// sleep lets a machine sleep, most often the leader's.
func (l *leases) sleep(leader *server, voters []*server) bool {
	s := leader
	if len(voters) > 0 && l.chance(0.2) {
		s = voters[0]
	}
	if s.paused || s.stalled {
		return false
	}
	d := l.between(0.5, 4, l.least())
	s.sleep(d)
	l.storm(leader, d/2, d+2*l.least())
	return true
}

// standstill lets a process stand still in the middle of a turn, most often the leader's.
func (l *leases) standstill(leader *server, voters []*server) bool {
	s := leader
	if len(voters) > 0 && l.chance(0.2) {
		s = voters[0]
	}
	s.stalls = stall{1 + l.rng.IntN(40), l.between(0.5, 4, l.least())}
	l.storm(leader, l.least()/2, 4*l.least())
	return true
}

// later does something, unless faults have stopped.
func (l *leases) later(d time.Duration, do func()) {
	l.w.after(d, func() {
		if !l.w.faults.stopped {
			do()
		}
	})
}

// others are all servers but some.
func (l *leases) others(some ...*server) []*server {
	return slices.DeleteFunc(slices.Clone(l.w.servers), func(o *server) bool { return slices.Contains(some, o) })
}

// isolate cuts servers off, but what is under way may still arrive later.
func (l *leases) isolate(some ...*server) {
	others := l.others(some...)
	l.w.net.hush(some, others)
	l.w.net.hush(others, some)
}

// hush cuts the ways from some servers to others. No link breaks for that.
func (n *network) hush(from, to []*server) {
	for _, a := range from {
		for _, b := range to {
			if a != b {
				n.cuts[a.slot][b.slot] = true
			}
		}
	}
}

// storm lets a server be asked all the time, and others be told new values.
func (l *leases) storm(s *server, from, to time.Duration) {
	others := l.others(s)
	for at := from; at < to; at += l.between(0.05, 0.2, l.least()) {
		l.later(at, func() {
			l.w.clients.ask(s, machine.Query, "get k0")
			if len(others) > 0 && l.chance(0.3) {
				l.w.clients.ask(others[l.rng.IntN(len(others))], machine.Command, fmt.Sprintf("put k0 %d", l.w.clients.ids))
			}
		})
	}
}

// queries carries out a query beside the turns, as a reader does that has brought it (loop/local.go), if there are leases. It
// reports false if the query must go the way of all requests. What comes to a process that stands still is read when it goes on:
// perhaps before the next turn.
func (s *server) queries(r *request) bool {
	l := &s.w.leases
	if l.rng == nil || r.request.Kind != machine.Query || r.watch != "" || l.chance(0.4) {
		return false
	}
	if s.paused {
		s.readers = append(s.readers, func() { s.read(r) })
		return true
	}
	s.read(r)
	return true
}

// read is what a reader does with a query: it looks at the clock, and asks the core. In between it may stand still.
func (s *server) read(r *request) {
	w := s.w
	w.clients.call(r)
	now, run, called, cluster := s.uptime(), s.run, r.called, s.cluster()
	r.called = 0 // it may have to be brought to the core
	ask := func() {
		busy := s.paused || s.stalled && !s.saving
		if s.run != run { // the request was lost
			return
		}
		if !busy && !s.none && s.cluster() == cluster { // it may have come into another one meanwhile
			if result, err, ok := s.node.LeasedQuery(r.request.Input, now); ok {
				w.result.Seen["query beside the turns"]++
				r.called, r.deadline = called, w.now
				cluster.asks(r)
				w.clients.answer(s, r, result, err)
				return
			}
		}
		s.post(func() { w.clients.take(r) })
	}
	if w.leases.chance(0.9) {
		ask()
	} else {
		w.after(w.leases.about(w.leases.least()), ask)
	}
}
