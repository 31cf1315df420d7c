package raftpico

import "sync"

// inbox carries what happens elsewhere to the loop: each item is carried out on it. What comes while the loop is at
// work, mostly in its fsync, is taken all at once by its next turn; that is where batches come from.
//
// Clients' requests wait in a queue of their own, of which a turn takes only as much as it has time for: whatever they
// ask for, the loop must hear the other servers, and they it.
type inbox struct {
	mu       sync.Mutex
	urgent   []func() // from servers, links and the process itself
	requests []func() // from clients
	shut     bool
	wake     chan struct{} // capacity 1
}

// post hands over what must not wait behind clients' requests. It never blocks. False means that the loop has ended.
func (b *inbox) post(item func()) bool { return b.put(&b.urgent, item) }

// request hands over clients' requests. It is like post in all else.
func (b *inbox) request(item func()) bool { return b.put(&b.requests, item) }

func (b *inbox) put(queue *[]func(), item func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return false
	}
	*queue = append(*queue, item)
	select {
	case b.wake <- struct{}{}:
	default: // the loop has not yet seen an earlier one
	}
	return true
}

// take empties the inbox behind what earlier turns have left of its queues.
func (b *inbox) take(urgent, requests []func()) (u, r []func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, r = append(urgent, b.urgent...), append(requests, b.requests...)
	clear(b.urgent)
	clear(b.requests)
	b.urgent, b.requests = b.urgent[:0], b.requests[:0]
	return u, r
}

// close makes post and request fail, and returns what was never taken.
func (b *inbox) close() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return append(b.urgent, b.requests...)
}
