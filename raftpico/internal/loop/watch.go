package loop

import (
	"fmt"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
)

// A disk that hangs holds up the turn, and with it the core. The watch looks after those who wait meanwhile: what needs no
// disk is answered, and everything else at its deadline. It is a goroutine, started by Run, that sleeps unless the disk takes
// long; then it wakes up again and again, and while it looks it has the machine's lock, so that the turn can't go on. It
// changes nothing in the core: whom it answers there, the core answers once more, and that is dropped (answers.early).
//
// To let the core expire what is due was rejected: it is in the middle of something, with the library's Ready in its hands.

// How long the disk may take until the watch looks for the first time, and between two looks.
const (
	lookAfter = 100 * time.Millisecond
	lookEvery = 50 * time.Millisecond
	hangs     = time.Second // is worth a line in the log
)

// watch is the goroutine. It ends with the loop.
func (l *Loop) watch() {
	d := l.env.disk
	for {
		select {
		case <-d.slow.C:
		case <-l.ended:
			return
		}
		var told bool
		var took time.Duration
		for l.look(&took) {
			if took > hangs && !told {
				told = true
				l.Logger.Warn("the disk does not answer", "since", took.Round(time.Millisecond).String())
			}
			time.Sleep(lookEvery)
		}
		if told {
			l.Logger.Warn("the disk has answered", "after", took.Round(lookEvery).String())
		}
	}
}

// look does what can be done while the turn waits, and reports whether it does.
func (l *Loop) look(took *time.Duration) bool {
	d := l.env.disk
	d.machine.mu.Lock()
	defer d.machine.unlock()
	if d.since.IsZero() {
		return false
	}
	now := time.Now()
	*took = now.Sub(d.since)
	if c := l.turns.reader; c != nil {
		c.Relieve() // it may have more to read
		l.turns.reader = nil
	}
	soon := now.Sub(l.began) + lookEvery // rather early than late
	l.node.Overdue(soon, l.env.answerEarly)
	l.serveWaiting(soon)
	l.env.answers.flush()
	return true
}

// serveWaiting answers what can be answered, or is due, of what the core has not been given: so whatever it is, it has
// certainly not been carried out.
func (l *Loop) serveWaiting(soon time.Duration) {
	lack := fmt.Errorf("the disk does not answer")
	for i, requests := l.turns.handed, l.turns.requests; i < len(requests); i++ {
		if r := &requests[i]; r.caller != nil && l.isDue(r, soon) && l.serve(r, soon, lack) {
			*r = Request{}
		}
	}
	mine := l.inbox.pick(func(r *Request) bool { return l.isDue(r, soon) })
	for i := range mine {
		if l.env.machine.due.Load() { // the turn is back
			l.inbox.back(mine[i:])
			return
		}
		if !l.serve(&mine[i], soon, lack) {
			l.inbox.back(mine[i : i+1])
		}
	}
}

// isDue tells whether a request is to be answered now.
func (l *Loop) isDue(r *Request, soon time.Duration) bool {
	if r.seen == 0 {
		r.seen = soon - 2*lookEvery // when it came, or earlier
	}
	switch r.Op {
	case node.GetServerState:
		return true
	case node.Cancel: // nobody waits for it
		return false
	}
	return isLocal(&r.Request) && !r.waits || l.pastDeadline(r, soon)
}

func (l *Loop) pastDeadline(r *Request, soon time.Duration) bool {
	deadline := l.Deadline
	if r.Deadline > 0 {
		deadline = min(max(deadline, l.MaxTimeout), r.Deadline)
	}
	return r.seen+deadline <= soon
}

// serve answers a request. It reports false if that is a query that wants to wait, and may do so longer.
func (l *Loop) serve(r *Request, soon time.Duration, lack error) bool {
	switch {
	case r.Op == node.GetServerState && r.Machines:
		l.env.give(r.caller, l.node.Describe(lack), nil)
	case r.Op == node.GetServerState:
		l.env.give(r.caller, l.node.Describe(nil), nil)
	case r.Op == node.Apply && r.Kind == machine.LocalQuery:
		result, err, waits := l.node.LocalQuery(r.Input, l.pastDeadline(r, soon))
		if waits {
			r.waits = true
			return false
		}
		l.env.give(r.caller, result, err)
	default:
		l.env.give(r.caller, nil, l.node.NotTaken())
	}
	return true
}
