package node

import "time"

// Every request has a deadline. Pending requests stand in lists that are not ordered by deadline. So the lists are
// looked through only when the first deadline may have passed.

// deadlines say when to look through the lists, and what has ended then.
type deadlines struct {
	next  time.Duration // when the first may have passed. Invariant: next <= the first deadline
	until time.Duration // requests whose deadline is at most this have ended
	left  int           // how many more of them may be answered in this turn
}

// How long before its deadline a request may be answered. So requests that end shortly after each other are found in one
// look: early, or earlyEach for each pending request, since a look takes longer then.
const (
	early     = time.Millisecond
	earlyEach = 200 * time.Nanosecond
)

// maxExpired bounds how many requests a turn answers because of their deadlines: a hundred thousand may end at once.
const maxExpired = 4096

// deadline is that of a request.
func (n *Node) deadline(r *Request) time.Duration {
	d := n.cfg.Deadline
	if r.Deadline > 0 {
		d = min(max(n.cfg.MaxTimeout, d), r.Deadline)
	}
	n.due(n.clock.elapsed + d)
	return n.clock.elapsed + d
}

// due notes that something must be done at a time.
func (n *Node) due(at time.Duration) { n.deadlines.next = min(n.deadlines.next, at) }

// expired tells whether a request with this deadline is to be answered now.
func (n *Node) expired(deadline time.Duration) bool {
	if deadline > n.deadlines.until || n.deadlines.left == 0 {
		return false
	}
	n.deadlines.left--
	return true
}

// expire answers the requests whose deadline has passed, as many as a turn may.
func (n *Node) expire() {
	if n.deadlines.next > n.clock.elapsed {
		return
	}
	n.deadlines.until, n.deadlines.left = n.clock.elapsed+max(early, time.Duration(n.pending)*earlyEach), maxExpired
	n.expireAdmin()
	n.expireCommands()
	n.expireReads()
	n.endTransfer()
	n.expireSnapshots()
	n.expireRemovals()
	n.expireHashes()
	n.expireStates(n.deadlines.until)
	n.expireParked()
	if n.deadlines.left == 0 {
		n.deadlines.next = n.clock.elapsed // the rest in the next turn
		return
	}
	n.deadlines.next = n.firstDeadline()
}

// firstDeadline is the earliest deadline of a pending request.
func (n *Node) firstDeadline() time.Duration {
	first := never
	for i := range n.commands.waiting {
		first = min(first, n.commands.waiting[i].deadline)
	}
	for _, b := range n.commands.sent {
		first = min(first, b.deadline)
	}
	for i := range n.reads.waiting {
		first = min(first, n.reads.waiting[i].deadline)
	}
	for _, r := range n.reads.rounds {
		for i := range r.queries {
			first = min(first, r.queries[i].deadline)
		}
	}
	for _, op := range n.admin.queue {
		first = min(first, op.deadline)
	}
	for _, r := range n.admin.removals {
		first = min(first, r.deadline)
	}
	for _, c := range n.hashes.callers {
		first = min(first, c.deadline)
	}
	for _, c := range n.compaction.callers {
		first = min(first, c.deadline)
	}
	first = min(first, n.deferred.due.first(), n.waits.due.first())
	if at := n.compaction.retry; at > 0 {
		first = min(first, at)
	}
	for _, callers := range [][]stateCaller{n.states.waiting, n.states.sharing} {
		for _, c := range callers {
			first = min(first, c.deadline)
		}
	}
	if len(n.states.waiting) > 0 && n.states.pause > n.clock.elapsed {
		first = min(first, n.states.pause)
	}
	if n.transfer.caller != nil {
		first = min(first, n.transfer.deadline)
	}
	return first
}
