package node

import (
	"container/heap"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
)

// parked is a request that waits for the machine, and not for the log: a command whose answer is deferred, or a query
// that waits for a change. It is pending, and parked once.
type parked struct {
	query
	order uint64 // in which they were parked
	place int    // in its heap; -1: in none

	ticket machine.Ticket // a command's
	at     int            // in deferrals.by
	kept   bool           // by a session

	keys     []string // a query's
	woken    bool     // it is among waits.woken
	timedOut bool     // and runs for the last time
	gone     bool     // it has been answered otherwise
	told     bool     // by Overdue
}

// byDeadline is a heap of parked requests. Those of one deadline come in the order in which they were parked.
type byDeadline []*parked

func (h byDeadline) Len() int { return len(h) }
func (h byDeadline) Less(i, j int) bool {
	a, b := h[i], h[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.order < b.order
}
func (h byDeadline) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *byDeadline) Push(x any) {
	p := x.(*parked)
	p.place = len(*h)
	*h = append(*h, p)
}

func (h *byDeadline) Pop() any {
	all := *h
	p := all[len(all)-1]
	all[len(all)-1] = nil
	*h, p.place = all[:len(all)-1], -1
	return p
}

// add parks a request, and has its deadline looked at.
func (h *byDeadline) add(n *Node, p *parked) {
	heap.Push(h, p)
	n.due(p.deadline)
}

// remove takes a request out. One that is not parked any more stays so.
func (h *byDeadline) remove(p *parked) {
	if p.place >= 0 {
		heap.Remove(h, p.place)
	}
}

// first is the first deadline, or never.
func (h byDeadline) first() time.Duration {
	if len(h) == 0 {
		return never
	}
	return h[0].deadline
}

// expireParked ends what is past its deadline. A deferred command is applied, so that is 107. A query runs once more.
func (n *Node) expireParked() {
	for d := &n.deferred; len(d.due) > 0 && n.expired(d.due[0].deadline); {
		n.forsake(d.due[0], n.failure(ErrUnknown, "it is applied, and its answer did not come before the deadline"))
	}
	for w := &n.waits; len(w.due) > 0 && n.expired(w.due[0].deadline); {
		p := w.due[0]
		w.due.remove(p)
		p.timedOut = true
		w.rouse(p)
	}
}

// settleParked answers all that is parked: queries by unsent, since they change nothing, commands by sent.
func (n *Node) settleParked(unsent, sent *jsonrpc.Error) {
	for i := range n.deferred.ready {
		n.give(&n.deferred.ready[i])
	}
	n.deferred.ready = nil
	n.forget(func(Caller) bool { return true }, unsent, sent)
}

// Forget drops the parked requests of callers that are gone: connections that have ended.
func (n *Node) Forget(gone func(Caller) bool) {
	n.forget(gone, ErrRejected, ErrUnknown)
}

func (n *Node) forget(gone func(Caller) bool, unsent, sent *jsonrpc.Error) {
	for _, p := range n.deferred.due.those(gone) {
		n.forsake(p, sent)
	}
	for _, p := range n.waits.those(gone) {
		n.waits.remove(p)
		n.answer(p.caller, nil, unsent)
	}
}

// waiting is how many requests are parked.
func (n *Node) waiting() int { return len(n.deferred.due) + len(n.waits.due) }

// crowded tells whether too many requests are under way, beside those that are parked.
func (n *Node) crowded() bool { return n.pending-n.waiting() >= n.cfg.MaxPending }

// admit looks whether one more request may be parked, with an input of some bytes, and prepares its caller for that.
// If not, the caller has been answered by refusal.
func (n *Node) admit(c Caller, bytes int, refusal *jsonrpc.Error) (Caller, bool) {
	free := n.cfg.MaxWaiting - n.waiting()
	if free > 0 && bytes <= n.cfg.WaitingBytes-n.waits.bytes {
		if parked, ok := n.env.Park(c, free); ok {
			return parked, true
		}
	}
	n.answer(c, nil, n.failure(refusal, "too many requests wait"))
	return nil, false
}

// those are the parked requests of the callers that f tells.
func (h byDeadline) those(f func(Caller) bool) (found []*parked) {
	for _, p := range h {
		if f(p.caller) {
			found = append(found, p)
		}
	}
	return found
}

// passOver is called when a snapshot of the leader's has taken the place of the state. The deferred commands may have been
// answered meanwhile. The queries look anew.
func (n *Node) passOver() {
	unknown := n.failure(ErrUnknown, "a snapshot passed over its answer")
	for _, p := range n.deferred.due.those(func(Caller) bool { return true }) {
		n.forsake(p, unknown)
	}
	n.waits.rouseAll()
}
