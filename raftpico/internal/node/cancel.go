package node

import "slices"

// cancel answers the callers that wait no longer. What no leader has been given yet is dropped: that is 106. It looks through
// all lists, so that other requests need no index of their callers; but once a turn, since thousands may go at once.
func (n *Node) cancel() {
	if len(n.cancelled) == 0 {
		return
	}
	const reason = "its caller waits no longer"
	rejected, unknown := n.failure(ErrRejected, reason), n.failure(ErrUnknown, reason)
	gone := func(c Caller) bool {
		_, gone := n.cancelled[c]
		return gone
	}
	c := &n.commands
	c.waiting = slices.DeleteFunc(c.waiting, func(w command) bool {
		if !gone(w.caller) {
			return false
		}
		c.bytes -= w.size()
		c.gathered.count--
		c.gathered.bytes -= w.size()
		n.answer(w.caller, nil, rejected)
		return true
	})
	for _, b := range c.sent {
		for i := range b.commands {
			if w := &b.commands[i]; gone(w.caller) {
				n.answer(w.caller, nil, unknown)
				w.caller = nil
			}
		}
	}
	isGone := func(q query) bool {
		if !gone(q.caller) {
			return false
		}
		n.answer(q.caller, nil, rejected)
		return true
	}
	n.reads.waiting = slices.DeleteFunc(n.reads.waiting, isGone)
	n.reads.rounds = slices.DeleteFunc(n.reads.rounds, func(r *round) bool {
		r.queries = slices.DeleteFunc(r.queries, isGone)
		return len(r.queries) == 0
	})
	n.forget(gone, rejected, unknown)
	clear(n.cancelled)
}
