package loop

import (
	"sync"
	"sync/atomic"
)

// between guards the machine. A turn holds it, but not while it waits for the disk. In between, local queries are carried out
// by whoever brings them: they need nothing of the loop, neither a wake-up nor, with a slow disk, its patience.
type between struct {
	mu  sync.Mutex
	due atomic.Bool // a turn waits for mu
}

// lock is for a turn. It waits for the query that is under way.
func (b *between) lock() {
	b.due.Store(true)
	b.mu.Lock()
	b.due.Store(false)
}

func (b *between) unlock() { b.mu.Unlock() }

// try is for a query, which never waits: so whoever asks for much holds up no turn, and no other query.
func (b *between) try() bool { return !b.due.Load() && b.mu.TryLock() }
