package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

// faults decide what goes wrong, and when.
type faults struct {
	w       *world
	pause   time.Duration // between two, on average
	create  node.Request
	eager   bool // the operator sees to it that all servers are members
	stopped bool
}

func (f *faults) begin(w *world) {
	*f = faults{w: w, pause: time.Duration(300+w.rng.IntN(3000)) * time.Millisecond}
	timeouts := node.Timeouts{Min: []uint64{50, 150, 300}[w.rng.IntN(3)], Max: 2000}
	if l := w.cfg.Load; l != nil {
		f.pause = time.Duration(float64(time.Second) / l.Faults)
		timeouts = node.DefaultTimeouts
	}
	f.create = node.Request{Op: node.CreateCluster, Timeouts: timeouts}
	w.after(w.about(f.pause)+2*time.Second, f.act)
	f.operate()
}

// act lets one thing go wrong. What is drawn may not be possible just then.
func (f *faults) act() {
	if f.stopped {
		return
	}
	w := f.w
	w.after(w.about(f.pause), f.act)
	for range 20 {
		s := w.servers[w.rng.IntN(len(w.servers))]
		kind := &kinds[w.rng.IntN(len(kinds))]
		if s.node == nil && kind.running || s.stalled {
			continue
		}
		w.tracef("--- %s: %s", s, kind.name)
		if kind.do(f, s) {
			w.result.Faults[kind.name]++
			w.result.Drawn++
			return
		}
	}
}

// kinds are the faults. Most are of a server that runs. What they do reports false if there was nothing to do.
var kinds = []struct {
	name    string
	running bool
	do      func(f *faults, s *server) bool
}{
	{"kill", true, func(f *faults, s *server) bool { s.kill(); return true }},
	{"power cut", true, func(f *faults, s *server) bool { s.powerOff(); return true }},
	{"power cut in a write", true, func(f *faults, s *server) bool {
		s.disk.broken = true
		s.fs.PowerOff(f.w.rng.IntN(8))
		return true
	}},
	{"power cut in a replacement", true, func(f *faults, s *server) bool { s.cutAnew = true; return true }},
	{"disk error", true, func(f *faults, s *server) bool {
		s.disk.broken = true
		ops := []memfs.Op{memfs.Write, memfs.Sync, memfs.Sync, memfs.SyncDir, memfs.Rename, memfs.Open, memfs.Lock}
		s.fs.Fail(ops[f.w.rng.IntN(len(ops))], 1+f.w.rng.IntN(3), errors.New("input/output error"))
		return true
	}},
	{"disk full", true, func(f *faults, s *server) bool {
		s.disk.broken = true
		s.fs.Space(int64(f.w.rng.IntN(5000)))
		return true
	}},
	{"standstill", true, func(f *faults, s *server) bool { f.standstill(s, f.w.about(time.Second)); return true }},
	{"slow server", true, func(f *faults, s *server) bool {
		s.slow = []time.Duration{time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond}[f.w.rng.IntN(3)]
		f.w.after(f.w.about(3*time.Second), func() { s.slow = 0 })
		return true
	}},
	{"shutdown", true, func(f *faults, s *server) bool {
		s.post(func() {
			s.stopBy = f.w.now + 2*time.Second
			s.node.Drain()
			s.w.at(s.stopBy, func() { s.wakeAt(f.w.now) })
		})
		return true
	}},
	{"hand over", true, func(f *faults, s *server) bool { s.post(func() { s.node.HandOver() }); return true }},
	{"clock jump", true, func(f *faults, s *server) bool {
		jump := f.w.about([]time.Duration{10 * time.Millisecond, time.Second, time.Hour}[f.w.rng.IntN(3)])
		if f.w.chance(0.5) {
			jump = -jump
		}
		s.skew, s.jumped = s.skew+jump, f.w.now
		return true
	}},
	{"broken link", false, func(f *faults, s *server) bool {
		conns := f.w.net.conns
		if len(conns) > 0 {
			conns[f.w.rng.IntN(len(conns))].breakOff()
		}
		return len(conns) > 0
	}},
	{"partition", false, func(f *faults, s *server) bool { return f.partition(false) }},
	{"one-way partition", false, func(f *faults, s *server) bool { return f.partition(true) }},
	{"partition of the leader", false, func(f *faults, s *server) bool {
		leader := f.leader()
		if leader == nil {
			return false
		}
		f.isolate(leader)
		return true
	}},
	{"leader with a minority", true, func(f *faults, s *server) bool {
		leader := f.leader()
		if leader == nil || leader == s {
			return false
		}
		some := append(f.w.replicas.learners(f.w, leader, s), leader)
		f.isolate(some...)
		f.askBoth(some...)
		return true
	}},
	{"late words to the leader", true, func(f *faults, s *server) bool {
		leader := f.leader()
		if leader == nil || leader == s {
			return false
		}
		f.isolate(leader)
		f.w.clients.ask(s, machine.Query, "get k0") // on its way, until it is late
		f.askBoth(leader)
		elected := time.Duration(f.create.Timeouts.Min) * time.Millisecond * 3 / 2 // most often somebody is by then, and the leader does not know
		f.w.after(elected+f.w.about(elected/3), func() { f.w.net.mend(s, leader) })
		return true
	}},
	{"messages to the leader under way", true, func(f *faults, s *server) bool {
		leader := f.leader()
		if leader == nil || leader == s {
			return false
		}
		run := s.run
		f.w.net.sever([]*server{s}, []*server{leader})
		f.w.after(f.w.about(100*time.Millisecond), func() {
			if s.run == run && f.w.chance(0.5) && !s.stalled {
				s.kill()
			}
		})
		if f.w.chance(0.5) {
			leader.post(func() { leader.node.HandOver() })
		}
		f.w.after(f.w.about(500*time.Millisecond), f.w.net.heal)
		return true
	}},
	{"power cut of all", false, func(f *faults, s *server) bool {
		all := f.w.chance(0.3)
		for _, s := range f.w.servers {
			if all && s.node != nil && !s.stalled {
				s.powerOff()
			}
		}
		return all
	}},
	{"started twice", true, (*faults).startTwice},
	{"wiped file", false, (*faults).wipe},
	{"bit flip", false, (*faults).flip},
}

// isolate cuts servers off from all others for a while.
func (f *faults) isolate(some ...*server) {
	others := slices.DeleteFunc(slices.Clone(f.w.servers), func(o *server) bool { return slices.Contains(some, o) })
	f.w.net.sever(some, others)
	f.w.net.sever(others, some)
	f.w.after(f.w.about(2*time.Second), f.w.net.heal)
}

// askBoth lets a key be written on one side of a network that was just split, and read on the other, while that may not know yet
// that somebody else leads.
func (f *faults) askBoth(some ...*server) {
	others := slices.DeleteFunc(slices.Clone(f.w.servers), func(o *server) bool { return slices.Contains(some, o) })
	if len(others) == 0 || f.w.cfg.Load != nil { // then it is stated what is asked
		return
	}
	least := time.Duration(f.create.Timeouts.Min) * time.Millisecond // until somebody is elected
	for at := least; at < 5*least/2; at += least / 10 {
		f.w.after(at, func() {
			f.w.clients.ask(others[f.w.rng.IntN(len(others))], machine.Command, fmt.Sprintf("put k0 %d", f.w.clients.ids))
		})
		f.w.after(at+f.w.about(least/10), func() { f.w.clients.ask(some[f.w.rng.IntN(len(some))], machine.Query, "get k0") })
	}
}

// partition splits the servers in two.
func (f *faults) partition(oneWay bool) bool {
	var a, b []*server
	for _, s := range f.w.servers {
		if f.w.chance(0.5) {
			a = append(a, s)
		} else {
			b = append(b, s)
		}
	}
	f.w.net.sever(a, b)
	if !oneWay {
		f.w.net.sever(b, a)
	}
	f.w.after(f.w.about(2*time.Second), f.w.net.heal)
	return len(a) > 0 && len(b) > 0
}

func (f *faults) leader() *server {
	i := slices.IndexFunc(f.w.servers, func(s *server) bool { return s.node != nil && s.node.State().Role == "Leader" })
	if i < 0 {
		return nil
	}
	return f.w.servers[i]
}

// standstill stops a process for a while, as SIGSTOP does.
func (f *faults) standstill(s *server, d time.Duration) {
	s.paused = true
	run := s.run
	f.w.after(d, func() {
		if s.run == run && s.paused {
			s.resume()
		}
	})
}

func (s *server) resume() {
	s.paused = false
	s.awake()
	s.readOn()
	for _, r := range s.pending {
		r.deadline = max(r.deadline, s.w.now)
	}
	s.wakeAt(s.w.now)
}

// expendable tells whether a server may lose its file. Of voters only one of three or more may at a time: the others must
// be able to go on.
func (f *faults) expendable(s *server) bool {
	if len(f.w.home.view) == 0 && !f.w.founding.blank(s) || s.disk.identity.ClusterID != "" && len(s.cluster().view) == 0 {
		return false // it is all there is of a cluster that has applied nothing yet
	}
	if f.w.founding.last(s) {
		return false
	}
	for _, c := range f.w.clusters() {
		voters, others := 0, false
		for _, m := range c.view {
			others = others || m.Role != "Voter" && !m.forGood() || !m.alive(f.w) || f.w.withFile(m.instance).flipped
			if !m.forGood() {
				voters++
			}
		}
		listed := slices.ContainsFunc(c.view, func(m member) bool { return m.instance == s.instance })
		if listed && (voters < 3 || others) {
			return false
		}
	}
	return true
}

// startTwice lets a second process start from a server's file, while the first runs. It must be refused.
func (f *faults) startTwice(s *server) bool {
	if s.disk.broken {
		return false // it would be the one to fail
	}
	log, _, err := storage.Open(s.fs, "log", "second")
	if !errors.Is(err, storage.ErrLocked) {
		f.w.fail("%s runs, and a second server starts from its file: %v", s, err)
	}
	return log == nil
}

// wipe deletes a file.
func (f *faults) wipe(s *server) bool {
	if !f.expendable(s) {
		return false
	}
	f.w.tracef("%s is wiped", s)
	f.w.founding.wiped = f.w.founding.wiped || len(f.w.home.view) == 0
	if s.node != nil {
		s.kill()
	}
	s.wipe()
	return true
}

// discard lets the operator delete a server whose removal or demotion was acknowledged. The file may be in another place by now.
func (f *faults) discard(c *checks, id uint64, what string) {
	if f.w.chance(0.3) {
		return
	}
	f.w.after(f.w.about([]time.Duration{0, 100 * time.Millisecond}[f.w.rng.IntN(2)]), func() {
		s := c.seated(f.w, id)
		if s == nil || f.w.founding.last(s) || s.stalled {
			return
		}
		f.w.tracef("%s: %s", s, what)
		f.w.result.Faults[what]++
		if s.node != nil {
			s.kill()
		}
		s.wipe()
	})
}

// flip flips a bit of the log of a server that is down, or turned off for it. Its next start must refuse the file, or find
// what it holds all the same.
func (f *faults) flip(s *server) bool {
	if s.flipped || !f.expendable(s) {
		return false
	}
	if s.node != nil {
		s.powerOff()
	} else {
		s.fs.Crash(f.w.rng)
	}
	log, err := s.fs.ReadFile("log")
	if err != nil || len(log) == 0 {
		return false // it has never been durable
	}
	bit := f.w.rng.IntN(8 * len(log))
	if f.w.chance(0.3) { // somewhere in the last line
		last := bytes.LastIndexByte(log[:len(log)-1], '\n') + 1
		bit = 8*last + f.w.rng.IntN(8*(len(log)-last))
	}
	f.w.tracef("%s has bit %d of %d flipped", s, bit, 8*len(log))
	s.fs.Flip("log", bit)
	s.flipped = true
	return true
}

// ended is called when a server is down: it comes back.
func (f *faults) ended(s *server) {
	d := time.Duration(0)
	switch {
	case f.stopped:
	case s.hasty:
		d = time.Millisecond
	default:
		d = f.w.about([]time.Duration{10 * time.Millisecond, time.Second}[f.w.rng.IntN(2)])
	}
	f.w.after(max(d, s.away-f.w.now), func() {
		if s.node == nil {
			s.restart()
		}
	})
}

func (s *server) restart() {
	s.mend()
	s.w.moves.move(s)
	s.start()
}

// mend takes back the faults of a disk that have not come.
func (s *server) mend() {
	for op := memfs.Open; op <= memfs.SyncDir; op++ {
		s.fs.Fail(op, 0, nil)
	}
	s.fs.PowerOff(-1)
	s.fs.Space(-1)
}

// stop ends all faults.
func (f *faults) stop(w *world) {
	f.stopped, w.clients.stopped = true, true
	w.net.stop()
	for _, s := range w.servers {
		s.mend()
		s.slow, s.cutAnew = 0, false
		if s.node != nil && w.levels.old(s) {
			s.kill() // the last ones are upgraded
		}
		switch {
		case s.node == nil:
			s.restart()
		case s.paused:
			s.resume()
		}
	}
	for _, c := range w.clusters() {
		if founder := w.founder(c); founder != nil && len(c.view) == 0 && !w.founding.does(c) {
			w.clients.operator(founder, w.leases.creates(founder, f.create))
		}
	}
}
