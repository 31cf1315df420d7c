package main

import (
	"context"
	"errors"
	"sync/atomic"
)

// Blocker is a Client whose users wait for each operation, in goroutines of their own: a caller is a goroutine that calls Do again
// and again. Loads that keep operations under way use it so.
type Blocker interface {
	Client
	Do(op Op) error
}

// blocking is a Blocker made of a function that carries out one operation. Go is for operations that begin by themselves: as many
// goroutines carry these out as are under way, and stay until Close.
type blocking struct {
	do       func(Op) error
	end      func() error // may be nil
	queue    chan begun
	underway atomic.Int64
	workers  atomic.Int64
}

type begun struct {
	op   Op
	done func(error)
}

func newBlocking(do func(Op) error, end func() error) *blocking {
	return &blocking{do: do, end: end, queue: make(chan begun, 1<<16)}
}

// Do implements Blocker.
func (b *blocking) Do(op Op) error { return b.do(op) }

// Go implements Client.
func (b *blocking) Go(op Op, done func(error)) {
	if n := b.underway.Add(1); n > b.workers.Load() {
		b.workers.Add(1)
		go b.work()
	}
	b.queue <- begun{op, done}
}

func (b *blocking) work() {
	for o := range b.queue {
		err := b.do(o.op)
		b.underway.Add(-1)
		o.done(err)
	}
}

// Flush implements Client.
func (b *blocking) Flush() error { return nil }

// Close implements Client. Nothing may be under way.
func (b *blocking) Close() error {
	close(b.queue)
	if b.end == nil {
		return nil
	}
	return b.end()
}

// withBlocking starts a cluster in process whose clients are pipelines, and puts goroutines that wait in their place.
func withBlocking(start func(context.Context, LocalConfig) (Cluster, error)) func(context.Context, LocalConfig) (Cluster, error) {
	return func(ctx context.Context, c LocalConfig) (Cluster, error) {
		cluster, err := start(ctx, c)
		if err != nil {
			return nil, err
		}
		return &blockingCluster{Cluster: cluster}, nil
	}
}

type blockingCluster struct {
	Cluster
	clients []*blocking
}

// Client implements Cluster.
func (b *blockingCluster) Client(server int) Client {
	begin := b.Cluster.Client(server).(*pipeline).begin
	c := newBlocking(func(op Op) error {
		_, err := begin(op)()
		return err
	}, nil)
	b.clients = append(b.clients, c)
	return c
}

// Close implements Cluster.
func (b *blockingCluster) Close() (err error) {
	for _, c := range b.clients {
		err = errors.Join(err, c.Close())
	}
	return errors.Join(err, b.Cluster.Close())
}
