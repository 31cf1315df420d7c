package jsonrpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/goccy/go-json"
)

// ErrClosed is returned by the calls of a Client that was closed.
var ErrClosed = errors.New("jsonrpc: client closed")

// maxAnswer is the longest answer, in bytes, that a Client takes.
const maxAnswer = 1 << 30

// Client calls a server over one connection. Any number of goroutines may use it at once; their requests are pipelined.
// A connection that is lost stays lost: dial again.
type Client struct {
	nc    net.Conn
	queue chan []byte // lines to send
	done  chan struct{}
	wg    sync.WaitGroup // reader and writer

	mu      sync.Mutex // guards what follows
	next    uint64     // id
	pending map[uint64]chan<- Response
	err     error // why it is done; set before done is closed
}

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
		nc:      nc,
		queue:   make(chan []byte, 256),
		done:    make(chan struct{}),
		pending: make(map[uint64]chan<- Response),
	}
	c.wg.Go(c.read)
	c.wg.Go(c.write)
	return c
}

// Call sends a request and decodes the result into result, unless that is nil. Params are encoded as JSON, json.RawMessage as
// it is; nil means none. An error that the server answered is an *Error. Any other error, also that of ctx, leaves open
// whether the request was carried out.
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

// CallRaw is Call without encoding and decoding. Params must be valid JSON without newline, or nil. The result belongs to
// the caller.
func (c *Client) CallRaw(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	answer := make(chan Response, 1)
	c.mu.Lock()
	id := c.next
	c.next++
	c.pending[id] = answer
	c.mu.Unlock()
	defer c.forget(id)

	if err := c.send(ctx, &Request{Method: method, Params: params, ID: strconv.AppendUint(nil, id, 10)}); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		return finish(r)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
	}
	select {
	case r := <-answer: // it came before the end
		return finish(r)
	default:
		return nil, c.err
	}
}

// Notify sends a notification. That it returns nil means no more than that it will be sent if the connection lasts.
func (c *Client) Notify(ctx context.Context, method string, params any) error {
	raw, err := encodeParams(params)
	if err != nil {
		return err
	}
	return c.send(ctx, &Request{Method: method, Params: raw})
}

// Close closes the connection, lets the calls under way fail with ErrClosed, and waits for the goroutines.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	c.wg.Wait()
	return nil
}

func finish(r Response) (json.RawMessage, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	return bytes.Clone(r.Result), nil
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

func (c *Client) send(ctx context.Context, r *Request) error {
	line := append(AppendRequest(nil, r), '\n')
	select { // first of all: a select among several that are ready picks any
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	select {
	case c.queue <- line:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
}

// fail ends the client for a reason; the first one counts.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		close(c.done)
	}
	c.mu.Unlock()
	_ = c.nc.Close()
}

// write is a goroutine. It sends what is queued, all that waits in one write, and ends with the connection.
func (c *Client) write() {
	w := bufio.NewWriterSize(c.nc, busyBuffer)
	for {
		select {
		case line := <-c.queue:
			_, _ = w.Write(line) // its error comes again from Flush
			for range len(c.queue) {
				_, _ = w.Write(<-c.queue)
			}
			if err := w.Flush(); err != nil {
				c.lost(err)
				return
			}
		case <-c.done:
			return
		}
	}
}

// read is a goroutine. It hands answers to those who wait, and ends with the connection.
func (c *Client) read() {
	in := NewReader(c.nc, maxAnswer)
	for {
		line, err := in.ReadLine()
		var r Response
		if err == nil {
			r, err = ParseResponse(line)
		}
		if err == nil && string(r.ID) == "null" && r.Err != nil {
			err = errors.New("it refused a line: " + r.Err.Error()) // whose, can't be told
		}
		if err != nil {
			c.lost(err)
			return
		}
		id, err := strconv.ParseUint(string(r.ID), 10, 64)
		if err != nil {
			continue // not ours
		}
		c.mu.Lock()
		answer := c.pending[id]
		delete(c.pending, id)
		c.mu.Unlock()
		if answer != nil {
			answer <- r // never blocks: it has room for one
		}
	}
}

func (c *Client) lost(err error) {
	c.fail(fmt.Errorf("jsonrpc: connection to %v lost: %w", c.nc.RemoteAddr(), err))
}
