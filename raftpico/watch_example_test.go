package raftpico_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// A job runs on the server that leads, and on no other one. It ends when the server leads no more, and begins anew in
// each term.
func ExampleServer_Events() {
	t := new(run)
	defer t.end()
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })

	ctx, cancel := context.WithCancel(context.Background())
	began := make(chan string)
	job := func(ctx context.Context, s *raftpico.Server, term uint64) { // what it tells others carries the term
		select {
		case began <- s.Addr():
			<-ctx.Done()
		case <-ctx.Done():
		}
	}
	var watching sync.WaitGroup
	for _, s := range c.Servers {
		watching.Go(func() { whileLeading(ctx, s, job) })
	}

	first := <-began
	c.Isolate(first)
	for second := first; second == first; {
		second = <-began
	}
	fmt.Println("another server has taken over")
	cancel()
	watching.Wait() // the jobs too
	// Output:
	// another server has taken over
}

// whileLeading runs job while s leads, until ctx or the server ends.
func whileLeading(ctx context.Context, s *raftpico.Server, job func(context.Context, *raftpico.Server, uint64)) {
	var running sync.WaitGroup
	var term uint64 // of the job that runs; 0: none does
	stop := func() {}
	for now := range s.Events(ctx) {
		if now.Leads() && now.Term == term {
			continue
		}
		stop()
		running.Wait()
		term = 0
		if now.Leads() {
			term = now.Term
			jobCtx, cancel := context.WithCancel(ctx)
			stop = cancel
			running.Go(func() { job(jobCtx, s, now.Term) })
		}
	}
	stop()
	running.Wait()
}
