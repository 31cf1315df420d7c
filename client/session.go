package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// Session is a session of its own, for machines that keep something for sessions, such as locks: all its Commands have the same
// Context.Session. (The sessions that a Client opens by itself only see to it that Commands are applied once; it may
// have several, and change them.) It is kept alive until Close. Its methods may be called from any number of goroutines;
// at most 1,000 Commands are under way, and others wait.
type Session struct {
	client *Client
	s      *session
	ctx    context.Context // ends with Close, or the client
	cancel context.CancelFunc

	once sync.Once
	done chan struct{}
	room chan struct{} // capacity 1: a Command has ended
}

// OpenSession opens a session. It ends when it is closed, or when the servers have not heard of it for ttl: a second at least, a
// week at most, zero is an hour. Until then the client tells them that it is alive, each third of ttl.
func (c *Client) OpenSession(ctx context.Context, ttl time.Duration) (*Session, error) {
	id, err := c.openSession(ctx, ttl)
	if err != nil {
		return nil, err
	}
	if ttl == 0 {
		ttl = time.Hour
	}
	s := &Session{client: c, s: newSession(id), done: make(chan struct{}), room: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	c.pool.mu.Lock()
	c.pool.handles[s] = struct{}{}
	c.pool.mu.Unlock()
	c.start(func() { s.keep(ttl / 3) })
	return s, nil
}

// ID is the Context.Session that the machine sees.
func (s *Session) ID() uint64 { return s.s.id }

// Done is closed when the session is known to have ended. A client that is cut off learns it late.
func (s *Session) Done() <-chan struct{} { return s.done }

// Apply is the client's Apply, with Commands in this session. Once the session has ended, the error of Commands is
// ErrSessionEnded.
func (s *Session) Apply(ctx context.Context, kind machine.Kind, input, output any) error {
	if kind != machine.Command {
		return s.client.Apply(ctx, kind, input, output)
	}
	r := requests.Get().(*request)
	defer r.release()
	if err := r.apply(kind, input); err != nil {
		return err
	}
	for {
		if err := s.begin(ctx, r); err != nil {
			return err
		}
		out, err := s.client.do(ctx, r)
		s.client.pool.end(r, len(out), err)
		s.oneLess()
		if !errors.Is(err, ErrSessionEnded) || r.doubt || s.over(ctx) {
			return decode(out, err, output)
		}
	}
}

// over asks the servers whether the session has ended: the same error tells that they have forgotten a number.
func (s *Session) over(ctx context.Context) bool {
	err := s.use(ctx)
	if errors.Is(err, ErrSessionEnded) {
		s.finish()
	}
	return err != nil
}

func (s *Session) use(ctx context.Context) error {
	r := request{method: "KeepSession", again: true, harmless: true, leader: true, head: sessionParams(s.s.id)}
	_, err := s.client.do(ctx, &r)
	return err
}

// oneLess wakes somebody who waits until the session takes a command.
func (s *Session) oneLess() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// begin waits until the session takes a command.
func (s *Session) begin(ctx context.Context, r *request) error {
	for {
		r.session = nil
		s.client.pool.mu.Lock()
		over, room := s.s.ended, windowSize-int(s.s.above())
		if !over && room > 0 {
			r.session, r.seq = s.s, s.s.begin(s.client.servers.now())
		}
		s.client.pool.mu.Unlock()
		switch {
		case over:
			return ErrSessionEnded
		case room > 1:
			s.oneLess() // for the next one, too
			return nil
		case room == 1:
			return nil
		}
		select {
		case <-s.room:
		case <-ctx.Done():
			return ended(false, nil, ctx.Err())
		case <-s.ctx.Done():
		}
		if s.client.ctx.Err() != nil {
			return ended(false, nil, ErrClosed)
		}
	}
}

// finish is called when the session is known to have ended.
func (s *Session) finish() {
	s.once.Do(func() {
		c := s.client
		c.pool.mu.Lock()
		s.s.ended = true
		delete(c.pool.handles, s)
		c.pool.mu.Unlock()
		s.cancel()
		close(s.done)
	})
}

// keep is a goroutine that ends with the session.
func (s *Session) keep(every time.Duration) {
	for s.client.pause(s.ctx, every) == nil {
		s.over(s.ctx)
	}
}

// Close ends the session. What the machine kept for it is given up, when it returns nil.
func (s *Session) Close(ctx context.Context) error {
	select {
	case <-s.done:
		return nil
	default:
	}
	err := s.client.closeSession(ctx, s.s.id)
	if err == nil {
		s.finish()
	}
	return err
}

func (c *Client) openSession(ctx context.Context, ttl time.Duration) (uint64, error) {
	r := request{method: "OpenSession", again: true, harmless: true, leader: true}
	if ttl != 0 {
		r.head = fmt.Appendf(nil, `{"ttl_ms":%d}`, ttl.Milliseconds())
	}
	var opened struct {
		Session uint64 `json:"session"`
	}
	out, err := c.do(ctx, &r)
	err = decode(out, err, &opened)
	return opened.Session, err
}

// closeSession ends a session. One that has ended is closed.
func (c *Client) closeSession(ctx context.Context, id uint64) error {
	r := request{method: "CloseSession", again: true, leader: true, head: sessionParams(id)}
	_, err := c.do(ctx, &r)
	if errors.Is(err, ErrSessionEnded) {
		return nil
	}
	return err
}

// tellGivenUp tells the servers that commands of a session were given up, unless another one tells it soon.
func (p *sessionPool) tellGivenUp(s *session) {
	err := p.client.pause(p.client.ctx, tellAfter)
	p.mu.Lock()
	s.telling = false
	tells := err == nil && s.owes()
	ack := s.ack.Load()
	if tells {
		s.said = ack
	}
	p.mu.Unlock()
	if !tells {
		return
	}
	ctx, cancel := context.WithTimeout(p.client.ctx, tellPatience)
	defer cancel()
	r := request{method: "KeepSession", again: true, harmless: true, leader: true, head: fmt.Appendf(nil, `{"session":%d,"ack":%d}`, s.id, ack)}
	_, _ = p.client.do(ctx, &r) // in vain: then the next command tells it
}

func sessionParams(id uint64) json.RawMessage { return fmt.Appendf(nil, `{"session":%d}`, id) }
