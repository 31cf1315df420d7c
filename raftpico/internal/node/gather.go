package node

import "time"

// Queries gather too. A round costs every server some wake-ups, whether it is for one query or for a thousand. So what comes
// while a round is under way goes with the next one, which begins when that has ended, or has taken for longer than
// Config.HoldReads: where a round trip is long, several overlap.
//
// Callers in process (Request.Near) ask again as soon as they run, which takes a moment after they were answered. A round that
// began at once would go without them, and they would take turns with whoever waits already, as two groups. So it begins when
// Gathered tells that they had time to come.

// gathering holds back the next round.
type gathering struct {
	until time.Duration // for callers in process that were answered; in the past: for none
}

// holdsRound tells whether queries that wait do so for longer.
func (n *Node) holdsRound() bool {
	r := &n.reads
	if len(r.rounds) >= maxRounds {
		return true
	}
	return n.clock.elapsed < n.roundDue()
}

// roundDue is when the next round may begin, unless too many are under way.
func (n *Node) roundDue() time.Duration {
	r := &n.reads
	if under := len(r.rounds); under > 0 && !r.rounds[under-1].answered {
		return max(r.rounds[under-1].asked+n.cfg.HoldReads, r.near.until)
	}
	return r.near.until
}

// Gathering tells whether queries wait for nothing but Gathered.
func (n *Node) Gathering() bool {
	return n.clock.elapsed < n.reads.near.until && len(n.reads.waiting) > 0 && len(n.reads.rounds) == 0
}

// Gathered tells that callers in process that were answered had time to ask again, and what they asked was taken in.
func (n *Node) Gathered() { n.reads.near.until = 0 }

// maxSpare is how many queries memory is kept for.
const maxSpare = 4096

// begin begins a round of all that waits.
func (r *reads) begin() *round {
	fresh := r.spare
	if r.spare = nil; fresh == nil {
		fresh = new(round)
	}
	fresh.queries, r.waiting = r.waiting, fresh.queries
	r.rounds = append(r.rounds, fresh)
	return fresh
}

// keep keeps the memory of a round that has ended, for the next one.
func (r *reads) keep(ended *round) {
	if cap(ended.queries) <= maxSpare {
		clear(ended.queries)
		*ended = round{queries: ended.queries[:0], contexts: ended.contexts[:0]}
		r.spare = ended
	}
}
