package logs

import (
	"sync"
	"time"
)

// rates bounds how often each message is logged: what makes a server say it may be what strangers do. A message is what
// happened, without the facts, so there are few.
type rates struct {
	mu sync.Mutex
	of map[string]*rate
}

// rate is a message's: a token for each that may be logged.
type rate struct {
	tokens float64
	at     time.Time // when there were so many
	held   int       // not logged since the last one that was
}

const (
	burst       = 30   // at once
	perSecond   = 1    // and from then on
	maxMessages = 1024 // remembered; beyond, all is forgotten
)

// allow tells whether a message is to be logged, and how many like it were not since the last one.
func (r *rates) allow(message string, now time.Time) (ok bool, held int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.of[message]
	if m == nil {
		if r.of == nil || len(r.of) >= maxMessages {
			r.of = map[string]*rate{}
		}
		m = &rate{tokens: burst, at: now}
		r.of[message] = m
	}
	m.tokens = min(burst, m.tokens+perSecond*max(now.Sub(m.at), 0).Seconds())
	m.at = now
	if m.tokens < 1 {
		m.held++
		return false, 0
	}
	m.tokens--
	held, m.held = m.held, 0
	return true, held
}
