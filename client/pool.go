package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
)

// What a client gives up it tells after a while, and not for long: the next command would tell it, too.
const (
	tellAfter    = 50 * time.Millisecond
	tellPatience = 10 * time.Second
)

// farewell is how long Close waits for the sessions' ends.
const farewell = time.Second

// sessionPool is the sessions in which a client sends its Commands. Most clients have one; a second one is opened when the
// first has as much under way as servers keep, or is held up by a command that waits long.
type sessionPool struct {
	client *Client

	mu       sync.Mutex // guards what follows, and all sessions
	sessions []*session
	handles  map[*Session]struct{}
	opening  chan struct{} // closed when the one that is being opened is there; nil: none is
	unknown  bool          // the servers know no sessions
}

// errMove is the end of attempts in a session that can't keep more outcomes: the command takes another one.
var errMove = errors.New("the session is full")

// apply carries a command out, once.
func (p *sessionPool) apply(ctx context.Context, r *request) (json.RawMessage, error) {
	for {
		s, err := p.begin(ctx, r)
		if s == nil {
			if err != nil {
				return nil, err
			}
			return p.client.do(ctx, r)
		}
		out, err := p.client.do(ctx, r)
		p.end(r, len(out), err)
		over := errors.Is(err, ErrSessionEnded)
		if over {
			p.drop(s)
		}
		if r.doubt || !over && err != errMove {
			return out, err
		}
	}
}

// begin gives a command a session and a number. Nil without an error: there are no sessions.
func (p *sessionPool) begin(ctx context.Context, r *request) (*session, error) {
	now := p.client.servers.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.unknown {
		for _, s := range p.sessions {
			if s.takes(now) {
				r.session, r.seq = s, s.begin(now)
				return s, nil
			}
		}
		if p.opening != nil {
			if err := p.await(ctx); err != nil {
				return nil, err
			}
			continue
		}
		p.opening = make(chan struct{})
		p.mu.Unlock()
		id, err := p.client.openSession(ctx, 0)
		p.mu.Lock()
		close(p.opening)
		p.opening = nil
		switch {
		case errors.Is(err, jsonrpc.ErrMethodNotFound):
			p.unknown = true
		case err != nil:
			return nil, err
		default:
			p.sessions = append(p.sessions, newSession(id))
		}
	}
	r.session = nil
	return nil, nil
}

// await waits until a session has been opened. The caller holds mu, and again when it returns.
func (p *sessionPool) await(ctx context.Context) error {
	opening := p.opening
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-opening:
		return nil
	case <-ctx.Done():
		return ended(false, nil, ctx.Err())
	case <-p.client.ctx.Done():
		return ended(false, nil, ErrClosed)
	}
}

// end is called when no attempt of a command follows in its session: it has its answer, or is given up.
func (p *sessionPool) end(r *request, size int, err error) {
	p.mu.Lock()
	s := r.session
	if errors.Is(err, ErrUnknown) {
		s.givenUp = max(s.givenUp, r.seq)
	}
	s.end(r.seq, size)
	tells := s.owes() && !s.telling
	s.telling = s.telling || tells
	p.mu.Unlock()
	if tells {
		p.client.start(func() { p.tellGivenUp(s) })
	}
}

// drop lets no command begin in a session any more.
func (p *sessionPool) drop(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.ended = true
	p.sessions = slices.DeleteFunc(p.sessions, func(one *session) bool { return one == s })
}

// full tells whether a session may be why its command was refused.
func (p *sessionPool) full(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.full()
}

// close ends all sessions on the servers, as far as these answer soon.
func (p *sessionPool) close() {
	ctx, cancel := context.WithTimeout(p.client.ctx, farewell)
	defer cancel()
	p.mu.Lock()
	var ids []uint64
	for _, s := range p.sessions {
		ids = append(ids, s.id)
	}
	for h := range p.handles {
		ids = append(ids, h.s.id)
	}
	p.mu.Unlock()
	if len(p.client.servers.view.Load().live) == 0 {
		return
	}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { _ = p.client.closeSession(ctx, id) })
	}
	wg.Wait()
}
