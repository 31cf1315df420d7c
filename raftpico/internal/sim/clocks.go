package sim

import "time"

// A server's clocks. Where there are leases, they go at rates that differ from server to server, and machines sleep. Everywhere
// else all clocks go with the world's.
//
//	elapsed  since the process began; stands still while the machine sleeps. It drives ticks and deadlines
//	uptime   since the machine was started; goes on while it sleeps. Leases and promises are counted by it
//	wall     goes with the world, but is off, and jumps: see timing.go
type clocks struct {
	rate    float64       // how much too fast elapsed and uptime go
	none    bool          // this system has no clock that counts sleep
	booted  time.Duration // when the machine was started
	slept   time.Duration // since the process began, all together
	asleep  time.Duration // when the machine has fallen asleep, while it sleeps
	sleeps  bool
	readers []func()      // have something for a process that stands still
	looked  time.Duration // when the process has last looked at elapsed, by the world's clock
	stalls  stall         // to come
	stalled bool          // in the middle of a turn
	saving  bool          // stalled while it waits for its disk: then others may look at the machine
	turning bool          // a turn is at work
	hasty   bool          // it is started anew at once
}

// local is what a span of the world's time is on the server's clocks.
func (c *clocks) local(d time.Duration) time.Duration {
	return d + time.Duration(c.rate*float64(d))
}

// span is how long it takes until the server's clocks have gone on by d. NB: Not less, or a turn would come before its time.
func (c *clocks) span(d time.Duration) time.Duration {
	if c.rate == 0 {
		return d
	}
	return time.Duration(float64(d)/(1+c.rate)) + 4
}

func (s *server) elapsed() time.Duration { return s.local(s.w.now - s.began - s.slept) }

// due is when elapsed will be at.
func (s *server) due(at time.Duration) time.Duration { return s.began + s.slept + s.span(at) }

func (s *server) uptime() time.Duration { return s.local(s.w.now - s.booted) }

// Uptime implements node.Env. The process may stand still before it has looked at the clock, and before it uses what it saw.
func (s *server) Uptime() (d time.Duration, ok bool) {
	s.stall()
	d = s.uptime()
	s.stall()
	return d, !s.none
}

// sleep lets the machine sleep for a while.
func (s *server) sleep(d time.Duration) {
	s.sleeps, s.asleep = true, s.w.now
	s.w.faults.standstill(s, d)
}

// awake is called when the process goes on. Deadlines are counted by a clock that has stood still.
func (s *server) awake() {
	if !s.sleeps {
		return
	}
	d := s.w.now - s.asleep
	s.sleeps, s.slept = false, s.slept+d
	for _, r := range s.pending {
		r.deadline += d
	}
	if s.stopBy > 0 {
		s.stopBy += d
		s.w.at(s.stopBy, func() { s.wakeAt(s.w.now) })
	}
}

// stall is a standstill in the middle of a turn.
type stall struct {
	points int           // until then, of those where it may happen; 0: there is none to come
	long   time.Duration // how long it takes
}

// stall is called where the process may stand still in the middle of a turn: it does, if that is to come. What happens meanwhile
// happens now. NB: One server at a time does so, and none of its faults may end it: it is in the middle of its core.
func (s *server) stall() {
	w := s.w
	if s.stalls.points == 0 || !s.turning || w.leases.stalled {
		return
	}
	if s.stalls.points--; s.stalls.points > 0 {
		return
	}
	end := w.now + s.stalls.long
	if end >= w.cfg.Faults {
		return
	}
	w.tracef("%s stands still in the middle of a turn", s)
	w.result.Seen["standstill in a turn"]++
	s.stalled, w.leases.stalled = true, true
	w.runUntil(end)
	s.stalled, w.leases.stalled = false, false
	w.tracef("%s goes on", s)
	for _, r := range s.pending {
		r.deadline = max(r.deadline, w.now+1) // not in this turn
	}
}

// readOn lets the readers go on, when the process does.
func (s *server) readOn() {
	readers := s.readers
	s.readers = nil
	for _, read := range readers {
		read()
	}
}
