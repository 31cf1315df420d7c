package main

import "sync"

// pipeline is a Client of a function that begins an operation and returns what waits for its end. One goroutine waits for
// all of them, in the order in which they began, as a log and rounds of reads end them: cheaper than a goroutine each.
type pipeline struct {
	begin func(Op) (end func() ([]byte, error))

	mu     sync.Mutex
	some   *sync.Cond // the queue is not empty, or closed
	queue  []underWay
	closed bool
}

type underWay struct {
	end  func() ([]byte, error)
	done func(error)
}

func newPipeline(begin func(Op) (end func() ([]byte, error))) *pipeline {
	p := &pipeline{begin: begin}
	p.some = sync.NewCond(&p.mu)
	go p.wait()
	return p
}

// wait ends when the pipeline is closed and what is under way has ended.
func (p *pipeline) wait() {
	var batch []underWay
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.closed {
			p.some.Wait()
		}
		clear(batch)
		batch, p.queue = p.queue, batch[:0]
		p.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, u := range batch {
			_, err := u.end()
			u.done(err)
		}
	}
}

// Go implements Client.
func (p *pipeline) Go(op Op, done func(error)) {
	end := p.begin(op)
	p.mu.Lock()
	p.queue = append(p.queue, underWay{end, done})
	p.mu.Unlock()
	p.some.Signal()
}

// Flush implements Client: nothing is kept back.
func (p *pipeline) Flush() error { return nil }

// Close implements Client.
func (p *pipeline) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.some.Signal()
	return nil
}
