package node

import "slices"

// cancel answers a caller that waits no longer. What no leader has been given yet is dropped: that is 106. It looks
// through all lists, so that other requests need no index of their callers.
func (n *Node) cancel(caller Caller) {
	const reason = "its caller waits no longer"
	rejected, unknown := n.failure(ErrRejected, reason), n.failure(ErrUnknown, reason)
	c := &n.commands
	c.waiting = slices.DeleteFunc(c.waiting, func(w command) bool {
		if w.caller != caller {
			return false
		}
		c.bytes -= w.size()
		c.gathered.count--
		c.gathered.bytes -= w.size()
		n.answer(caller, nil, rejected)
		return true
	})
	for _, b := range c.sent {
		for i := range b.commands {
			if w := &b.commands[i]; w.caller == caller {
				n.answer(caller, nil, unknown)
				w.caller = nil
			}
		}
	}
	isIt := func(q query) bool {
		if q.caller != caller {
			return false
		}
		n.answer(caller, nil, rejected)
		return true
	}
	n.reads.waiting = slices.DeleteFunc(n.reads.waiting, isIt)
	n.reads.rounds = slices.DeleteFunc(n.reads.rounds, func(r *round) bool {
		r.queries = slices.DeleteFunc(r.queries, isIt)
		return len(r.queries) == 0
	})
}
