package serve

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// leastQuiet is how long a connection has to send a request before it gives way to a newcomer.
const leastQuiet = 500 * time.Millisecond

// room has a place for each HTTP connection of a process. Where none is free, the connection gives way that has waited for a request
// longest, whether nothing has come, or a part of its header, or of its body: so who opens connections and leaves them idle shuts
// nobody out.
type room struct {
	places chan struct{} // holds one for each that is taken
	least  time.Duration // leastQuiet

	mu    sync.Mutex
	quiet map[*boundedConn]time.Time // those that wait for a request or more of its body, and since when
}

// newRoom takes three quarters of the file descriptors. The rest is for logs, snapshots and the connections of servers.
func newRoom(files int) *room {
	return &room{places: make(chan struct{}, min(max(files-files/4, 1), 1<<20)), least: leastQuiet, quiet: map[*boundedConn]time.Time{}}
}

// take takes a place, and waits for one. It reports false when closed is.
func (r *room) take(closed <-chan struct{}) bool {
	for {
		select {
		case r.places <- struct{}{}:
			return true
		default:
		}
		again := time.NewTimer(r.makeRoom())
		select {
		case r.places <- struct{}{}:
			again.Stop()
			return true
		case <-closed:
			again.Stop()
			return false
		case <-again.C:
		}
	}
}

// makeRoom closes the connection that has been quiet longest, if one has been for long enough. It returns when to look again.
func (r *room) makeRoom() time.Duration {
	oldest, left := r.oldest()
	if oldest == nil {
		return left
	}
	_ = oldest.Close() // which gives its place back
	return 0
}

// oldest chooses who gives way, or tells when to look again. Who is chosen gets no request carried out any more.
func (r *room) oldest() (oldest *boundedConn, again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var since time.Time
	for c, at := range r.quiet {
		if (oldest == nil || at.Before(since)) && !c.writing.Load() { // the end of an answer is written when its handler has returned
			oldest, since = c, at
		}
	}
	if oldest == nil {
		return nil, r.least
	}
	if left := r.least - time.Since(since); left > 0 {
		return nil, left
	}
	oldest.gone = true
	return oldest, 0
}

// waits notes that a connection waits for its client, or does not. It reports false if the connection is closed.
func (r *room) waits(c *boundedConn, does bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if does && !c.gone {
		r.quiet[c] = time.Now()
	} else {
		delete(r.quiet, c)
	}
	return !c.gone
}

// leave gives a connection's place back. It is called once.
func (r *room) leave(c *boundedConn) {
	r.mu.Lock()
	c.gone = true
	delete(r.quiet, c)
	r.mu.Unlock()
	<-r.places
}

type connKey struct{}

// furnish has an http.Server tell which of its connections wait for a request. One that is hijacked does not any more.
func furnish(h *http.Server) {
	next := h.Handler
	h.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if c, ok := nc.(*boundedConn); ok { // a Service's HTTPListener may have made something else of it, whose business it is
			c.room.waits(c, true)
			return context.WithValue(ctx, connKey{}, c)
		}
		return ctx
	}
	h.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*boundedConn); ok {
			if !c.room.waits(c, false) {
				panic(http.ErrAbortHandler)
			}
			defer func() { c.room.waits(c, !c.hijacked) }()
		}
		next.ServeHTTP(w, r)
	})
	h.ConnState = func(nc net.Conn, state http.ConnState) {
		if c, ok := nc.(*boundedConn); ok && state == http.StateHijacked {
			c.hijacked = true // by the handler, on its goroutine
		}
	}
}
