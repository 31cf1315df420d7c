package loop

import (
	"slices"
	"sync"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
)

// metering makes copies of what is counted. All of that is plain numbers, which the lock of the machine guards (between.go): a
// turn holds it when it counts, and so does who answers a local query in between. A copy takes a moment between two turns, and
// can be made while a turn waits for the disk. Only a machine that is at work for long holds it up. Then one goroutine waits, for
// all who ask, and they get the last copy.
type metering struct {
	mu       sync.Mutex
	underway chan struct{} // closed when the copy that is waited for is there; nil: none is
	last     api.Metrics
	at       time.Time // of last
}

// patience bounds how long Metrics waits for the figures of now.
const patience = time.Second

// Metrics is how the server is, as far as the loop knows. Its slices are the caller's.
func (l *Loop) Metrics() api.Metrics {
	g := &l.metering
	done := g.begin(l)
	late := time.NewTimer(patience)
	defer late.Stop()
	timely := true
	select {
	case <-done:
	case <-late.C:
		timely = false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.last
	m.Members, m.Requests, m.RequestTimes = slices.Clone(m.Members), slices.Clone(m.Requests), slices.Clone(m.RequestTimes)
	if !timely {
		m.Age = time.Since(g.at)
	}
	return m
}

// begin has a copy made, unless one is waited for already. Its goroutine ends when the machine is free.
func (g *metering) begin(l *Loop) (done chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.underway != nil {
		return g.underway
	}
	done = make(chan struct{})
	g.underway = done
	go func() {
		m := l.measure()
		g.mu.Lock()
		g.last, g.at, g.underway = m, time.Now(), nil
		g.mu.Unlock()
		close(done)
	}()
	return done
}

// wait waits for the goroutine, if there is one.
func (g *metering) wait() {
	g.mu.Lock()
	done := g.underway
	g.mu.Unlock()
	if done != nil {
		<-done
	}
}

// measure copies what is counted.
func (l *Loop) measure() (m api.Metrics) {
	e := l.env
	tally := new(Tally)
	l.refused.add(tally)
	e.machine.mu.Lock()
	defer e.machine.unlock()
	tally.add(&e.tally)
	tally.appendTo(&m)
	l.node.Measure(&m)
	m.Uptime = time.Since(l.began)
	m.Turns, m.Syncs, m.Applies = e.times, e.syncs, e.applies
	for i := range m.Members {
		if link := e.links.to[m.Members[i].ID]; link != nil {
			t := link.Traffic()
			m.Members[i].QueueBytes, m.Members[i].SentMessages, m.Members[i].SentBytes = t.Queued, t.Messages, t.Bytes
		}
	}
	return m
}

// refused are the requests that were refused by those who decode them, which are few.
type refused struct {
	mu    sync.Mutex
	tally Tally
}

func (r *refused) add(to *Tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to.add(&r.tally)
}

// Refused counts a request that was refused before the loop has heard of it.
func (l *Loop) Refused(m Method, err *jsonrpc.Error) {
	l.refused.mu.Lock()
	defer l.refused.mu.Unlock()
	l.refused.tally.Count(m, err)
}
