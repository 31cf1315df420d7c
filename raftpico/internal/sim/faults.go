package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

// faults decide what goes wrong, and when.
type faults struct {
	w       *world
	pause   time.Duration // between two, on average
	create  node.Request
	stopped bool
}

func (f *faults) begin(w *world) {
	*f = faults{w: w, pause: time.Duration(300+w.rng.IntN(3000)) * time.Millisecond}
	timeouts := node.Timeouts{Min: []uint64{50, 150, 300}[w.rng.IntN(3)], Max: 2000}
	f.create = node.Request{Op: node.CreateCluster, Timeouts: timeouts}
	w.after(w.about(f.pause)+2*time.Second, f.act)
	w.after(0, f.operate)
}

// act lets one thing go wrong.
func (f *faults) act() {
	if f.stopped {
		return
	}
	w := f.w
	w.after(w.about(f.pause), f.act)
	s := w.servers[w.rng.IntN(len(w.servers))]
	kind := kinds[w.rng.IntN(len(kinds))]
	if s.node == nil && kind.running {
		return
	}
	w.result.Faults[kind.name]++
	w.tracef("--- %s: %s", s, kind.name)
	kind.do(f, s)
}

// kinds are the faults. Most are of a server that runs.
var kinds = []struct {
	name    string
	running bool
	do      func(f *faults, s *server)
}{
	{"kill", true, func(f *faults, s *server) { s.kill() }},
	{"power cut", true, func(f *faults, s *server) { s.powerOff() }},
	{"power cut in a write", true, func(f *faults, s *server) {
		s.disk.broken = true
		s.fs.PowerOff(f.w.rng.IntN(8))
	}},
	{"disk error", true, func(f *faults, s *server) {
		s.disk.broken = true
		ops := []memfs.Op{memfs.Write, memfs.Sync, memfs.Sync, memfs.SyncDir, memfs.Rename, memfs.Open, memfs.Lock}
		s.fs.Fail(ops[f.w.rng.IntN(len(ops))], 1+f.w.rng.IntN(3), errors.New("input/output error"))
	}},
	{"disk full", true, func(f *faults, s *server) {
		s.disk.broken = true
		s.fs.Space(int64(f.w.rng.IntN(5000)))
	}},
	{"standstill", true, func(f *faults, s *server) { f.standstill(s, f.w.about(time.Second)) }},
	{"shutdown", true, func(f *faults, s *server) {
		s.post(func() {
			s.stopBy = f.w.now + 2*time.Second
			s.node.Drain()
			s.w.at(s.stopBy, func() { s.wakeAt(f.w.now) })
		})
	}},
	{"hand over", true, func(f *faults, s *server) { s.post(func() { s.node.HandOver() }) }},
	{"clock jump", true, func(f *faults, s *server) {
		jump := f.w.about([]time.Duration{10 * time.Millisecond, time.Second, time.Hour}[f.w.rng.IntN(3)])
		if f.w.chance(0.5) {
			jump = -jump
		}
		s.skew += jump
	}},
	{"broken link", false, func(f *faults, s *server) {
		if conns := f.w.net.conns; len(conns) > 0 {
			conns[f.w.rng.IntN(len(conns))].breakOff()
		}
	}},
	{"partition", false, func(f *faults, s *server) { f.partition(false) }},
	{"one-way partition", false, func(f *faults, s *server) { f.partition(true) }},
	{"partition of the leader", false, func(f *faults, s *server) {
		if leader := f.leader(); leader != nil {
			others := slices.DeleteFunc(slices.Clone(f.w.servers), func(o *server) bool { return o == leader })
			f.w.net.sever([]*server{leader}, others)
			f.w.net.sever(others, []*server{leader})
			f.w.after(f.w.about(2*time.Second), f.w.net.heal)
		}
	}},
	{"power cut of all", false, func(f *faults, s *server) {
		if !f.w.chance(0.3) {
			return
		}
		for _, s := range f.w.servers {
			if s.node != nil {
				s.powerOff()
			}
		}
	}},
	{"wiped file", false, (*faults).wipe},
}

// partition splits the servers in two.
func (f *faults) partition(oneWay bool) {
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
	for _, r := range s.pending {
		r.deadline = max(r.deadline, s.w.now)
	}
	s.wakeAt(s.w.now)
}

// wipe deletes a file. Of voters only one of three or more at a time: the others must be able to go on.
func (f *faults) wipe(s *server) {
	voters, others := 0, false
	for _, m := range f.w.checks.view {
		others = others || m.Role != "Voter" || !m.alive(f.w)
		voters++
	}
	listed := slices.ContainsFunc(f.w.checks.view, func(m member) bool { return m.Addr == s.addr })
	if voters == 0 || listed && (voters < 3 || others) {
		return
	}
	f.w.tracef("%s is wiped", s)
	if s.node != nil {
		s.kill()
	}
	s.wipe()
}

// ended is called when a server is down: it comes back.
func (f *faults) ended(s *server) {
	d := time.Duration(0)
	if !f.stopped {
		d = f.w.about(time.Second)
	}
	f.w.after(d, func() {
		if s.node == nil {
			s.restart()
		}
	})
}

func (s *server) restart() {
	s.mend()
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
		switch {
		case s.node == nil:
			s.start()
		case s.paused:
			s.resume()
		}
	}
	if len(w.checks.view) == 0 {
		w.clients.operator(w.servers[0], f.create)
	}
}

// operate lets the operator do something: create the cluster, add and remove servers, most of all those that are gone.
func (f *faults) operate() {
	if f.stopped {
		return
	}
	w := f.w
	c := &w.clients
	w.after(w.about(1500*time.Millisecond), f.operate)
	if len(w.checks.view) == 0 {
		if w.servers[0].node != nil {
			c.operator(w.servers[0], f.create)
		}
		return
	}
	for range 1 + w.rng.IntN(2)*w.rng.IntN(3) { // at once, to several servers
		if s := w.servers[w.rng.IntN(len(w.servers))]; s.node != nil {
			c.operator(s, f.change())
		}
	}
}

// change makes up a change of the member list. Members whose file is gone are removed first.
func (f *faults) change() node.Request {
	w := f.w
	for _, m := range w.checks.view {
		if !m.alive(w) {
			return node.Request{Op: node.RemoveServer, Addr: m.Addr}
		}
	}
	some := w.servers[w.rng.IntN(len(w.servers))]
	if others := slices.DeleteFunc(slices.Clone(w.servers), func(s *server) bool { return slices.Contains(w.checks.members(w), s) }); len(others) > 0 {
		some = others[w.rng.IntN(len(others))]
	}
	if w.chance(0.2) {
		return node.Request{Op: node.TakeSnapshot}
	}
	if w.chance(0.25) {
		return node.Request{Op: node.RemoveServer, Addr: w.servers[w.rng.IntN(len(w.servers))].addr}
	}
	return node.Request{Op: node.AddServer, Addr: some.addr}
}
