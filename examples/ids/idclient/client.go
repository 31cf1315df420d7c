package idclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/examples/ids/internal/ids"
)

// MaxBuffer is the largest size of a buffer, in ids.
const MaxBuffer = ids.MaxBlock

// maxStream is how many ids the channel of Stream holds at most. More would make it no faster.
const maxStream = 1024

// ErrClosed is the error of Next after Close.
var ErrClosed = errors.New("idclient: closed")

// Client gives out ids: those of a sequence ([ID]) or ULIDs. Its methods may be called from any number of goroutines.
type Client[T any] struct {
	source  source[T]
	bufSize uint64
	owned   *client.Client // ends with this one; nil: it is the user's

	current atomic.Pointer[block[T]] // where ids are taken from, never nil

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the fetch, and the feeder of the stream

	mu       sync.Mutex    // guards what follows
	next     *block[T]     // comes after current; nil: it is not there yet
	fetching bool          // it is being fetched
	late     bool          // and somebody waits for it, or has waited for the one before
	waiting  uint64        // calls of Next that need it
	changed  chan struct{} // closed when it has come, or the client has ended
	failure  error         // the last one, since the last block came
	ended    error         // what Next returns from now on; nil: the client works
	stream   chan T        // nil: nobody has asked for it
}

// source is where blocks come from.
type source[T any] struct {
	fetch func(ctx context.Context, n uint64) (first T, err error) // the next n ids
	at    func(first T, i uint64) T                                // the i-th id of a block, from 0
}

// block is ids that follow each other. Taken grows beyond n when many find the block used.
type block[T any] struct {
	first  T
	n      uint64
	refill uint64 // when this one is taken, the next block is fetched; n: when it is needed
	taken  atomic.Uint64
}

func newClient[T any](bufSize int, s source[T]) *Client[T] {
	c := &Client[T]{source: s, bufSize: uint64(max(bufSize, 0)), changed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.current.Store(new(block[T]))
	return c
}

// Next returns the next id. If none is in the buffer, it waits for one until ctx ends. The error then wraps that of ctx, and
// what went wrong meanwhile. The id that it did not wait for is not lost: the next call gets it.
func (c *Client[T]) Next(ctx context.Context) (T, error) {
	for {
		b := c.current.Load()
		if i := b.taken.Add(1) - 1; i < b.n {
			if i == b.refill {
				c.refill()
			}
			return c.source.at(b.first, i), nil
		}
		if err := c.await(ctx, b); err != nil {
			var none T
			return none, err
		}
	}
}

// Stream returns a channel of ids, always the same one. It is closed when the client has ended; see Err. Ids that are in the
// channel are taken: so those that Next returns are later ones. NB: without a buffer, too, one id waits to be received.
func (c *Client[T]) Stream() <-chan T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		c.stream = make(chan T, min(c.bufSize, maxStream))
		if c.ctx.Err() == nil {
			c.wg.Go(c.feed)
		} else {
			close(c.stream)
		}
	}
	return c.stream
}

// feed is a goroutine that ends with the client.
func (c *Client[T]) feed() {
	defer close(c.stream)
	for {
		id, err := c.Next(c.ctx)
		if err != nil {
			return
		}
		select {
		case c.stream <- id:
		case <-c.ctx.Done():
			return
		}
	}
}

// Err tells why no ids come. It is nil as long as nothing has failed since the last block came, and after Close; so it may
// be asked now and then, to be logged. Once an error has ended the client, it is that one.
func (c *Client[T]) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// Close ends the client: calls of Next that wait fail with ErrClosed, and the channel of Stream is closed. When it returns, all
// goroutines of the client have ended. It may wait a second for servers. It returns nil.
func (c *Client[T]) Close() error {
	c.end(ErrClosed, nil)
	c.mu.Lock()
	c.next = nil
	c.current.Store(new(block[T]))
	c.cancel()
	c.mu.Unlock()
	c.wg.Wait()
	if c.owned != nil {
		_ = c.owned.Close()
	}
	return nil
}

// end lets no block come any more, unless the client has ended. Ids of the current one are still given out.
func (c *Client[T]) end(err, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended, c.failure = err, failure
		close(c.changed)
	}
}

// late is the error of Next when its context has ended.
func late(err, failure error) error {
	if failure == nil {
		return fmt.Errorf("idclient: no id yet: %w", err)
	}
	return fmt.Errorf("idclient: no id yet: %w; last: %w", err, failure)
}
