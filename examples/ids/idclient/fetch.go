package idclient

import (
	"context"
	"errors"
	"time"

	"github.com/raftpico/go/client"
)

// Waits after a failure that package client does not deal with itself.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// lateFactor is how much larger a block is, if the one before was waited for though it was fetched ahead. A block takes a round trip,
// whatever its size.
const lateFactor = 4

// await returns nil once used is not the current block any more.
func (c *Client[T]) await(ctx context.Context, used *block[T]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	defer func() { c.waiting-- }()
	for {
		switch {
		case c.current.Load() != used:
			return nil
		case c.ended != nil:
			return c.ended
		case c.next != nil:
			c.current.Store(c.next)
			c.next = nil
			return nil
		case ctx.Err() != nil:
			return late(ctx.Err(), c.failure)
		}
		c.late = c.late || c.fetching
		c.fetch()
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
}

// refill is called when so much of a block is used that the next one is wanted.
func (c *Client[T]) refill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetch()
}

// fetch begins to fetch the next block, unless somebody does. Those who wait already all get an id of it. The caller holds mu.
//
// A goroutine fetches, and not whoever waits: the block must not be lost with the context of a call.
func (c *Client[T]) fetch() {
	if c.fetching || c.next != nil || c.ended != nil {
		return
	}
	size := c.bufSize
	if c.late {
		size *= lateFactor
	}
	c.fetching, c.late = true, false
	n := min(max(size, c.waiting, 1), MaxBuffer)
	c.wg.Go(func() {
		first, err := c.try(n)
		if err != nil {
			c.end(err, err)
			return
		}
		b := &block[T]{first: first, n: n, refill: n}
		if c.bufSize > 0 {
			b.refill = max(n/2, 1) - 1
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended == nil {
			c.next, c.fetching, c.failure = b, false, nil
			close(c.changed)
			c.changed = make(chan struct{})
		}
	})
}

// try asks for n ids until it gets them, the client is closed, or there is no hope.
func (c *Client[T]) try(n uint64) (first T, err error) {
	ctx := client.WithFailures(c.ctx, c.failed)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if first, err = c.source.fetch(ctx, n); err == nil || !passes(err) {
			return first, err
		}
		c.failed(err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return first, ctx.Err()
		}
	}
}

// failed notes why ids are late.
func (c *Client[T]) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.failure = err
	}
}

// passes tells whether a later try may have another outcome, though package client has given up: there may be a cluster
// later, and another session.
func passes(err error) bool {
	return !errors.Is(err, client.ErrClosed) &&
		(errors.Is(err, client.ErrUnknown) || errors.Is(err, client.ErrSessionEnded) || errors.Is(err, client.ErrNotMember))
}
