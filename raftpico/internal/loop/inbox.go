package loop

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// inbox carries what happens elsewhere to the loop. What comes while the loop is at work, mostly in its fsync, is taken
// all at once by its next turn; that is where batches come from.
//
// Clients' requests wait in a queue of their own, of which a turn carries out only as much as it has time for: whatever
// they ask for, the loop must hear the other servers, and they it.
type inbox struct {
	mu       sync.Mutex
	items    []func()  // from servers, links and the process itself: carried out on the loop
	requests []Request // from clients
	shut     bool
	wake     chan struct{} // capacity 1
	near     atomic.Bool   // the ring is for callers in process, of whom more may be about to come
	left     atomic.Int64  // requests that were taken, and for which the last turn had no time
}

// Request is a client's, and who waits for its answer.
type Request struct {
	node.Request
	Call   *jsonrpc.Call // nil in process
	caller node.Caller   // the call, or a waiter; nil: it has been answered
	seen   time.Duration // when the watch saw it first, as the core counts; 0: not yet
	waits  bool          // it is a local query, and wants to wait for a change: the watch has seen that
}

// RequestOf is a request whose answer goes to a call; what is asked for is still to be set.
func RequestOf(call *jsonrpc.Call) Request { return Request{Call: call, caller: call} }

// post hands an item over, and wakes the loop. It never blocks. False means that the loop has ended.
func (b *inbox) post(item func()) bool {
	taken := b.put(item)
	b.ring()
	return taken
}

// submit hands requests over, in their order. It is like post in all else.
func (b *inbox) submit(requests ...Request) bool {
	taken := b.put(nil, requests...)
	b.ring()
	return taken
}

// put hands over an item, if any, and requests, for a turn that the caller sees to.
func (b *inbox) put(item func(), requests ...Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return false
	}
	if item != nil {
		b.items = append(b.items, item)
	}
	b.requests = append(b.requests, requests...)
	return true
}

// ring wakes the loop's goroutine.
func (b *inbox) ring() {
	select {
	case b.wake <- struct{}{}:
	default: // the loop has not yet seen an earlier one
	}
}

// ringNear rings for callers in process. The loop's goroutine lets others run first, so that they can come too.
func (b *inbox) ringNear() {
	b.near.Store(true)
	b.ring()
}

// some tells whether anything waits.
func (b *inbox) some() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) > 0 || len(b.requests) > 0
}

// crowded tells whether as many requests wait as may be under way.
func (b *inbox) crowded(limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.shut && len(b.requests)+int(b.left.Load()) >= limit
}

// take moves everything into the loop's hands: items into an empty slice, requests behind those that are left there. Whoever
// has rung for any of it need not be heard any more: the goroutine would do a turn for nothing.
func (b *inbox) take(items []func(), requests []Request) ([]func(), []Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.near.Store(false)
	select {
	case <-b.wake:
	default:
	}
	items, b.items = b.items, items[:0]
	if len(requests) == 0 {
		requests, b.requests = b.requests, requests
		return items, requests
	}
	requests = append(requests, b.requests...)
	clear(b.requests)
	b.requests = b.requests[:0]
	return items, requests
}

// pick takes out the requests that f wants.
func (b *inbox) pick(f func(r *Request) bool) (picked []Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.requests[:0]
	for i := range b.requests {
		if r := &b.requests[i]; f(r) {
			picked = append(picked, *r)
		} else {
			kept = append(kept, *r)
		}
	}
	clear(b.requests[len(kept):])
	b.requests = kept
	return picked
}

// back puts requests before all others, as if they had not been picked.
func (b *inbox) back(requests []Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = slices.Insert(b.requests, 0, requests...)
}

// close makes post, submit and put fail, and returns what was never taken.
func (b *inbox) close() ([]func(), []Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return b.items, b.requests
}
