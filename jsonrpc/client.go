package jsonrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"
)

var (
	// ErrClosed is returned by the calls of a Client that was closed.
	ErrClosed = errors.New("jsonrpc: client closed")

	// ErrNotSent is wrapped by the error of a call of which nothing was sent: the server has not carried it out, and will not.
	ErrNotSent = errors.New("jsonrpc: not sent")
)

// maxAnswer is the longest answer, in bytes, that a Client takes.
const maxAnswer = 1 << 30

// maxQueued is how many bytes may wait to be sent before a caller waits too.
const maxQueued = 1 << 20

// Client calls a server over one connection. Any number of goroutines may use it at once; their requests are pipelined.
// A connection that is lost stays lost: dial again.
type Client struct {
	nc      net.Conn
	direct  *TryWriter    // nil where there is none
	wake    chan struct{} // capacity 1: the writer is to write
	done    chan struct{} // closed when the connection is lost or closed
	wg      sync.WaitGroup
	signs   atomic.Uint64 // of life: grows with each read, and while a long line is written
	waiting atomic.Int64  // calls without an answer; changed under mu

	mu    sync.Mutex // guards what follows
	calls []*waiter  // by id; nil: the id is free
	free  []int      // ids
	out   outgoing
	watch watch
	err   error // why it is done; set before done is closed
}

// outgoing is what is to be sent. Guarded by Client.mu.
type outgoing struct {
	lines   []byte
	rest    []byte        // what is left of those before, for the writer
	spare   []byte        // memory for the next lines
	id      []byte        // memory for an id
	queued  int64         // bytes that ever came into lines
	taken   int64         // of these, what was taken to be sent: taken ≤ queued
	writing bool          // somebody writes, or the writer is woken to do so
	room    chan struct{} // closed when lines are taken; nil: nobody waits for that
}

// waiter waits for an answer.
type waiter struct {
	answered chan struct{} // capacity 1
	at       int64         // where the request begins among all bytes queued
	result   []byte        // a copy; the memory is used again
	err      error         // instead of a result
}

// keptResult is how long a result may be whose memory a waiter keeps, in bytes.
const keptResult = 4 << 10

var waiters = sync.Pool{New: func() any { return &waiter{answered: make(chan struct{}, 1)} }}

// nobody waits for an answer any more.
var nobody = new(waiter)

// Dial connects to a TCP address.
func Dial(ctx context.Context, addr string) (*Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("jsonrpc: %w", err)
	}
	return NewClient(nc), nil
}

// NewClient takes over a connection. It starts two goroutines, which Close ends.
func NewClient(nc net.Conn) *Client {
	c := &Client{
		nc:     nc,
		direct: NewTryWriter(nc),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	c.wg.Go(c.read)
	c.wg.Go(c.write)
	return c
}

// Call sends a request and decodes the result into result, unless that is nil. Params are encoded as JSON, json.RawMessage as
// it is; nil means none. An error that the server answered is an *Error. One that wraps ErrNotSent tells that the request was
// not carried out. Any other error, also that of ctx, leaves that open.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	raw, err := encodeParams(params)
	if err != nil {
		return err
	}
	out, err := c.CallRaw(ctx, method, raw)
	if err != nil || result == nil {
		return err
	}
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("jsonrpc: decode the result of %s: %w", method, err)
	}
	return nil
}

// CallRaw is Call without encoding and decoding. Params must be valid JSON without newline, or nil; they are the caller's again
// when it returns. The result belongs to the caller.
func (c *Client) CallRaw(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	return c.AppendCall(ctx, nil, method, params)
}

// AppendCall is CallRaw that appends the result to dst, which spares memory where dst is used again.
func (c *Client) AppendCall(ctx context.Context, dst []byte, method string, params json.RawMessage) ([]byte, error) {
	w := waiters.Get().(*waiter)
	id, err := c.send(ctx, w, method, params)
	if err != nil {
		waiters.Put(w)
		return nil, err
	}
	if done := ctx.Done(); done == nil {
		<-w.answered
	} else {
		select {
		case <-w.answered:
		case <-done:
			if c.forget(id, w) {
				waiters.Put(w)
				return nil, ctx.Err()
			}
			<-w.answered // it has just come
		}
	}
	err = w.err
	if err == nil {
		dst = append(dst, w.result...)
	}
	if w.err = nil; cap(w.result) > keptResult {
		w.result = nil
	}
	waiters.Put(w)
	return dst, err
}

// Notify sends a notification. That it returns nil means no more than that it will be sent if the connection lasts.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	raw, err := encodeParams(params)
	if err == nil {
		_, err = c.send(ctx, nil, method, raw)
	}
	return err
}

// Close closes the connection, lets the calls under way fail with ErrClosed, and waits for the goroutines.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	c.wg.Wait()
	return nil
}

func encodeParams(params any) (json.RawMessage, error) {
	if params == nil {
		return nil, nil
	}
	if raw, ok := params.(json.RawMessage); ok && raw == nil {
		return nil, nil
	}
	raw, err := encode(params) // NB: this also checks and compacts what is raw
	if err != nil {
		return nil, fmt.Errorf("jsonrpc: encode params: %w", err)
	}
	return raw, nil
}

// send queues a request and sees that it is written. A nil waiter stands for a notification.
func (c *Client) send(ctx context.Context, w *waiter, method string, params json.RawMessage) (id int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, notSent(err)
	}
	c.mu.Lock()
	for c.err == nil && len(c.out.lines) > maxQueued {
		if err := c.awaitRoom(ctx); err != nil {
			c.mu.Unlock()
			return 0, notSent(err)
		}
	}
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, notSent(c.err)
	}
	id = c.queue(w, method, params)
	c.push()
	return id, nil
}

// queue puts a request behind those that wait to be sent. The caller holds mu.
func (c *Client) queue(w *waiter, method string, params json.RawMessage) (id int) {
	r := Request{Method: method, Params: params}
	if w != nil {
		if n := len(c.free); n > 0 {
			id, c.free = c.free[n-1], c.free[:n-1]
			c.calls[id] = w
		} else {
			id = len(c.calls)
			c.calls = append(c.calls, w)
		}
		if w != nobody {
			w.at = c.out.queued
		}
		c.out.id = strconv.AppendInt(c.out.id[:0], int64(id), 10)
		r.ID = c.out.id
		c.waiting.Add(1)
		c.watch.begin()
	}
	before := len(c.out.lines)
	c.out.lines = append(AppendRequest(c.out.lines, &r), '\n')
	c.out.queued += int64(len(c.out.lines) - before)
	return id
}

// awaitRoom waits until what is queued is taken. The caller holds mu, and again when it returns.
func (c *Client) awaitRoom(ctx context.Context) error {
	if c.out.room == nil {
		c.out.room = make(chan struct{})
	}
	room := c.out.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
		return nil
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forget gives a call up, unless it has ended.
func (c *Client) forget(id int, w *waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id >= len(c.calls) || c.calls[id] != w {
		return false
	}
	c.calls[id] = nobody // the id stays taken until its answer has come
	return true
}

// Underway counts the calls that have no answer yet, also those that were given up.
func (c *Client) Underway() int { return int(c.waiting.Load()) }

// Watch lets the client notice that the server has gone without a word. When a call waits and nothing comes for a while,
// the client calls a method, which may be any that the server answers at once. If nothing at all comes within silence,
// the connection is lost. A connection that nobody uses is not watched. Call it once, before the first call.
func (c *Client) Watch(method string, silence time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch = watch{method: method, tick: max(silence/watchTicks, time.Millisecond)}
	c.watch.timer = time.AfterFunc(time.Hour, c.look)
	c.watch.timer.Stop()
}

func notSent(err error) error { return fmt.Errorf("%w: %w", ErrNotSent, err) }
