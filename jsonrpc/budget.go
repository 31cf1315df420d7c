package jsonrpc

import (
	"slices"
	"sync"
)

// budget bounds what all connections of a server make it hold. It counts three things:
//
//   - held, in bytes: what is read and not yet a whole line, and answers not yet sent. It is reserved before it is
//     allocated, and counts until it is freed: that of a connection that is cut off too. Past the limit a reader waits
//     if enough is about to be freed anyhow; if not, the connection that holds most is cut off. An answer can't wait:
//     for it somebody is cut off at once. If too much of that is not freed yet, it is the one who asked.
//   - underway, in bytes: requests handed over and not yet answered, with all the memory that they keep alive. Past
//     the limit readers wait with what they have read.
//   - requests: how many are under way. A connection may have as many as there are places free, so that there are
//     always some for others (Choudhury and Hahne, "Dynamic Queue Length Thresholds"): one alone takes half, nine
//     greedy ones leave a tenth.
//
// Half of Limits.Budget is for held, half for underway.
//
// No reader waits for ever: those that wait for underway and requests wait for answers alone, which wait for no
// reader; those that wait for held wait only while others are to free theirs, who are cut off, or wait for answers.
// Hence held and underway are counted apart: half a line, which may never be completed, holds up nobody's reading. Nor
// do requests of a client that does not take its answers: they are counted as held meanwhile (Conn.stalled). Where an
// answer does depend on what another connection sends, as between the servers of a cluster, that connection has to be
// exempt.
//
// Locks: a connection's before the budget's, never the other way round.
type budget struct {
	mu       sync.Mutex
	limit    int // of held, and of underway
	places   int // limit of requests
	held     int // = Σ account.held() of the connections that are not exempt, until their memory is freed
	dying    int // the part of held that cut-off connections have
	parked   int // the part of held that readers have who wait for underway or requests
	underway int // = Σ account.underway, also of connections that are gone
	requests int // = Σ account.requests, the same
	open     map[*Conn]struct{}
	growing  line // readers that wait for held
	entering line // readers that wait for underway and requests
}

// account is a connection's part in the budget, which guards it.
type account struct {
	reading  int // what its reader holds
	unsent   int
	underway int
	requests int
	parked   int
	standing standing
	wake     chan struct{} // capacity 1; made when its reader first waits
}

type standing int

const (
	inside  standing = iota
	trusted          // exempt
	cutOff           // its memory is about to be freed
	freed
)

func (a *account) held() int { return a.reading + a.unsent }

func newBudget(limit, places int) *budget {
	return &budget{limit: limit / 2, places: places, open: make(map[*Conn]struct{})}
}

func (b *budget) join(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[c] = struct{}{}
}

// trust takes c out of the budget.
func (b *budget) trust(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &c.account
	if a.standing != inside {
		return
	}
	delete(b.open, c)
	b.add(a, -a.reading, -a.unsent, -a.underway, -a.requests)
	a.standing = trusted
	a.rouse()
}

// cut says that c is cut off: its reader waits no more. What it holds counts until free.
func (b *budget) cut(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cutLocked(c)
}

func (b *budget) cutLocked(c *Conn) {
	a := &c.account
	if a.standing == inside {
		delete(b.open, c)
		a.standing = cutOff
		b.dying += a.held()
		b.growing.rouse() // its choice is another now
	}
	a.rouse()
}

// free says that c is closed, and its memory given back. Its requests under way count until they are answered.
func (b *budget) free(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cutLocked(c)
	if a := &c.account; a.standing == cutOff {
		b.add(a, -a.reading, -a.unsent, 0, 0)
		a.standing = freed
	}
}

// add changes an account.
func (b *budget) add(a *account, reading, unsent, underway, requests int) {
	a.reading += reading
	a.unsent += unsent
	a.underway += underway
	a.requests += requests
	b.held += reading + unsent
	b.underway += underway
	b.requests += requests
	if a.standing == cutOff {
		b.dying += reading + unsent
	}
	if reading+unsent < 0 {
		b.growing.rouse()
	}
	if underway < 0 || requests < 0 {
		b.entering.rouse()
	}
}

// settle changes what c has. If held passes its limit by this, it returns the connection that holds most, which the
// caller has to cut off.
func (b *budget) settle(c *Conn, unsent, underway, requests int) (greediest *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &c.account
	switch a.standing {
	case trusted:
		return nil
	case freed:
		unsent = 0
	}
	b.add(a, 0, unsent, underway, requests)
	switch {
	case unsent <= 0 || b.held-b.dying <= b.limit && b.held <= b.limit+b.limit/2:
		return nil
	case b.held-b.dying <= b.limit && a.standing == inside: // others are about to free much, but have not
		b.cutLocked(c)
		return c
	}
	// One suffices: before this call the limit was kept, and the greediest holds at least what c has added.
	return b.greediest(nil, 0)
}

// greediest finds the connection that holds most, c counted with what it wants to add, and counts it as cut off.
func (b *budget) greediest(c *Conn, wanted int) *Conn {
	var found *Conn
	most := -1
	for other := range b.open {
		n := other.account.held()
		switch {
		case other == c:
			n += wanted
		case c != nil && other.account.parked > 0:
			continue // it frees what it holds anyhow
		}
		if n > most {
			found, most = other, n
		}
	}
	if found != nil {
		b.cutLocked(found)
	}
	return found
}

// read reserves what c's reader is going to hold: so many bytes in all. It waits for them where it is more than
// before, and fails if c was cut off.
func (b *budget) read(c *Conn, reading int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &c.account
	for {
		more := reading - a.reading
		switch {
		case a.standing == trusted:
			b.growing.leave(c)
			return nil
		case more <= 0:
			b.add(a, more, 0, 0, 0)
			return nil
		case a.standing != inside:
			b.growing.leave(c)
			return errGreedy
		case !b.growing.first(c):
		case b.held+more <= b.limit:
			b.add(a, more, 0, 0, 0)
			b.growing.leave(c)
			return nil
		case b.held-b.dying-b.parked+more > b.limit: // to wait would not help
			greediest := b.greediest(c, more)
			b.mu.Unlock()
			greediest.cut(errGreedy)
			b.mu.Lock()
			continue
		}
		b.wait(&b.growing, c)
	}
}

// enter lets in what c's reader has read: size bytes, for up to want requests. Its reader then holds no more than
// reading. It returns how many requests there are places for, or 0 if c itself has too many under way; and waits while
// there are too many of all. Where whole is set there are places for all of them or none.
func (b *budget) enter(c *Conn, reading, size, want int, whole bool) (places int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &c.account
	defer b.entering.leave(c)
	for {
		switch free := b.places - b.requests; {
		case a.standing == trusted:
			return want, nil
		case a.standing != inside:
			return 0, errGreedy
		case a.requests > 0 && a.requests >= free:
			return 0, nil
		case whole:
			if places = want; want > free && b.requests > 0 {
				places = 0
			}
		default:
			places = min(want, max((free-a.requests)/2, min(free, 1)))
		}
		if places > 0 && b.entering.first(c) && (b.underway == 0 || b.underway+size <= b.limit) {
			b.add(a, min(reading-a.reading, 0), 0, size, places)
			return places, nil
		}
		a.parked = a.held()
		b.parked += a.parked
		b.growing.rouse()
		b.wait(&b.entering, c)
		b.parked -= a.parked
		a.parked = 0
	}
}

// wait waits in l until c is roused. The caller holds mu, and looks again what there is.
func (b *budget) wait(l *line, c *Conn) {
	if c.account.wake == nil {
		c.account.wake = make(chan struct{}, 1)
	}
	if !slices.Contains(*l, c) {
		*l = append(*l, c)
	}
	b.mu.Unlock()
	<-c.account.wake
	b.mu.Lock()
}

func (a *account) rouse() {
	select {
	case a.wake <- struct{}{}:
	default: // it does not wait, or has not yet looked
	}
}

// line is of readers that wait, first come, first served.
type line []*Conn

func (l line) first(c *Conn) bool { return len(l) == 0 || l[0] == c }

func (l line) rouse() {
	if len(l) > 0 {
		l[0].account.rouse()
	}
}

// leave is for one who waits no more. The next one has a look.
func (l *line) leave(c *Conn) {
	if i := slices.Index(*l, c); i >= 0 {
		*l = slices.Delete(*l, i, i+1)
	}
	l.rouse()
}
