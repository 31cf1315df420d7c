package node

import "time"

// Every request has a deadline. Pending requests stand in lists that are not ordered by deadline. So the lists are
// looked through only when the first deadline may have passed.

// early is how long before its deadline a request may be answered. So requests that end shortly after each other are
// found in one look.
const early = time.Millisecond

// deadline is that of a request.
func (n *Node) deadline(r *Request) time.Duration {
	d := n.cfg.Deadline
	if r.Deadline > 0 {
		d = min(d, r.Deadline)
	}
	n.due(n.clock.elapsed + d)
	return n.clock.elapsed + d
}

// due notes that something must be done at a time. Invariant: n.deadlines <= the first deadline.
func (n *Node) due(at time.Duration) { n.deadlines = min(n.deadlines, at) }

func (n *Node) expired(deadline time.Duration) bool { return deadline <= n.clock.elapsed+early }

// expire answers all requests whose deadline has passed.
func (n *Node) expire() {
	if n.deadlines > n.clock.elapsed {
		return
	}
	n.expireAdmin()
	n.expireCommands()
	n.expireReads()
	n.endTransfer()
	n.expireSnapshots()
	n.expireRemovals()
	n.expireHashes()
	n.expireStates(n.clock.elapsed + early)
	n.deadlines = n.firstDeadline()
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
