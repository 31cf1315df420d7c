package jsonrpc

import "sync"

// budget counts the bytes that all connections of a server hold together: held are read buffers and unsent answers,
// underway the requests read and not yet answered (the memory that they pin).
//
// Past the limit of held, the greediest connection is closed; past that of underway, readers wait. This can't deadlock:
// underway counts only what the handler has already been given, so a reader waits for answers alone, and they don't wait
// for a reader. Hence the two are counted apart: half a line, which may never be completed, and requests read from a client
// that does not take its answers, hold up nobody's reading. (Where an answer does depend on what another connection sends,
// as between the servers of a cluster, that connection has to be exempt.)
//
// Locks: a connection's before the budget's, never the other way round.
type budget struct {
	mu       sync.Mutex
	changed  sync.Cond // underway fell, or an account closed
	limit    int
	held     int // = Σ account.held of the connections in open
	underway int // = Σ account.underway, also of connections that are gone: the memory is still pinned
	open     map[*Conn]struct{}
}

// account is a connection's part in the budget, which guards it.
type account struct {
	held     int
	underway int
}

func newBudget(limit int) *budget {
	b := &budget{limit: limit, open: make(map[*Conn]struct{})}
	b.changed.L = &b.mu
	return b
}

func (b *budget) join(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[c] = struct{}{}
}

// leave gives back what c holds, and ends its waiting. What it has under way counts until it is answered.
func (b *budget) leave(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(c)
}

// settle brings c's account up to date. If the limit is passed it returns the connection that holds most, which has left
// the budget already and has to be closed by the caller.
func (b *budget) settle(c *Conn, now account) (greediest *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.underway
	b.underway += now.underway - c.account.underway
	c.account.underway = now.underway
	if was > b.limit && b.underway <= b.limit {
		b.changed.Broadcast()
	}
	if _, ok := b.open[c]; !ok {
		return nil
	}
	b.held += now.held - c.account.held
	c.account.held = now.held
	if b.held <= b.limit {
		return nil
	}
	for other := range b.open {
		if greediest == nil || other.account.held > greediest.account.held {
			greediest = other
		}
	}
	// One suffices: before this call held <= limit, and the greediest holds at least what c has added.
	b.drop(greediest)
	return greediest
}

// wait waits until there is room for more requests, or c has left.
func (b *budget) wait(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.underway > b.limit {
		if _, ok := b.open[c]; !ok {
			return
		}
		b.changed.Wait()
	}
}

func (b *budget) drop(c *Conn) {
	if _, ok := b.open[c]; !ok {
		return
	}
	delete(b.open, c)
	b.held -= c.account.held
	c.account.held = 0
	b.changed.Broadcast()
}
