package loop

import (
	"log/slog"
	"time"
)

// clocks compares the clocks of other servers with this one's, by what they answer to pings. The leader's stamps commands: one that
// is wrong ends locks and sessions early or late. Owner: the turn.
type clocks struct {
	apart map[uint64]bool // servers of which it was said that they are
}

// A pong is up to five seconds old when it is heard.
const (
	tooFar    = 30 * time.Second
	nearAgain = 15 * time.Second
)

// compare logs when two clocks begin to be apart, and when they are together again. Theirs is in milliseconds since 1970; 0: not
// told.
func (c *clocks) compare(log *slog.Logger, id uint64, addr string, theirs int64, now time.Time) {
	if theirs <= 0 {
		return
	}
	ahead := time.UnixMilli(theirs).Sub(now)
	switch off := ahead.Abs(); {
	case !c.apart[id] && off > tooFar:
		if c.apart == nil {
			c.apart = map[uint64]bool{}
		}
		c.apart[id] = true
		log.Warn("the clock of another server is not this one's: set both by NTP. The leader's stamps commands, and ends locks and sessions by it",
			"server", id, "addr", addr, "ahead", ahead.Round(time.Second).String())
	case c.apart[id] && off < nearAgain:
		delete(c.apart, id)
		log.Info("the clock of another server is this one's again", "server", id, "addr", addr)
	}
}

// forget is for a server that is none of ours any more.
func (c *clocks) forget(id uint64) { delete(c.apart, id) }
