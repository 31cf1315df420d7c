package raftpico

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/advice"
	"github.com/raftpico/go/raftpico/internal/front"
	"github.com/raftpico/go/raftpico/internal/logs"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
)

// Server is a running server. Its methods may be called from any goroutine, but not from inside its machine.
//
// Goroutines: the one of run, which is the loop's and then ends the rest; one that accepts; one that joins; one that looks at certificates. Others belong to the loop (beside
// it, and two a link) and to the front (one or two a connection). Close waits for all of them.
type Server struct {
	opts  Options
	loop  *loop.Loop
	front *front.Front
	logs  *logs.Queue
	done  chan struct{} // closed when everything has ended
	err   error         // why the server failed; valid after done
}

// Start starts a server of m and returns when it listens. A server with an empty file belongs to no cluster: it waits
// for CreateCluster, or for AddServer on a member of one. The machine belongs to the server until Close has returned.
func Start(m machine.Machine, opts Options) (*Server, error) {
	opts, err := opts.filled()
	if v := reflect.ValueOf(m); err == nil && (m == nil || v.Kind() == reflect.Pointer && v.IsNil()) {
		err = errors.New("the machine is nil")
	}
	if err != nil {
		return nil, fmt.Errorf("raftpico: start: %w", err)
	}
	log := logs.Open(opts.Logger)
	opts.Logger = log.Logger()
	s, err := start(m, opts)
	if err != nil {
		log.Close(lastWords)
		return nil, node.Traced(fmt.Errorf("raftpico: start: %w", advice.On(err)))
	}
	s.logs = log
	opts.Logger.Info("server started", "addr", s.opts.Addr, "file", opts.File)
	go s.run()
	return s, nil
}

func start(m machine.Machine, opts Options) (*Server, error) {
	l, err := loop.Open(opts.loop(m))
	if err != nil {
		if opts.Listener != nil {
			err = errors.Join(err, opts.Listener.Close())
		}
		return nil, err
	}
	if err := opts.listen(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	err = l.Begin(opts.Addr)
	if err == nil && l.Identity() == nil {
		err = opts.checkOwn(opts.Addr)
	}
	if err != nil {
		return nil, errors.Join(err, opts.Listener.Close(), l.Close())
	}
	return &Server{opts: opts, loop: l, front: front.New(l, opts.Limits.connection(), opts.Limits.MaxTimeout, opts.guard(), opts.Logger), done: make(chan struct{})}, nil
}

// lastWords bounds how long the end of a server waits for a log that blocks.
const lastWords = time.Second

// run is the goroutine of the loop, and afterwards ends everything else.
func (s *Server) run() {
	defer close(s.done)
	defer s.logs.Close(lastWords)
	var accepting sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	var joining sync.WaitGroup
	joining.Go(func() { lookAfter(ctx, s.opts.TLS) })
	if len(s.opts.Join) > 0 {
		joining.Go(func() { newJoiner(s).run(ctx) })
	}
	accepting.Go(func() {
		if err := s.front.Serve(s.opts.Listener); err != nil {
			s.loop.Fail(fmt.Errorf("raftpico: listen: %w", err))
		}
	})
	s.err = advice.On(s.loop.Run())
	end()
	joining.Wait()
	err := s.front.Shutdown()
	accepting.Wait()
	if closed := s.loop.Close(); err == nil {
		err = closed
	}
	switch {
	case s.err != nil:
		s.opts.Logger.Error("server failed", append(node.Facts(s.err), "addr", s.opts.Addr)...)
		s.err = node.Traced(s.err)
	case err != nil:
		s.err = fmt.Errorf("raftpico: close: %w", err)
	default:
		s.opts.Logger.Info("server stopped", "addr", s.opts.Addr)
	}
}

// Addr is the address at which others reach the server.
func (s *Server) Addr() string { return s.opts.Addr }

// Wait waits until the server has ended. It returns nil after Close, else why it failed: a disk that could not be
// written, a machine that panicked: then the error's text ends with its stack.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// closePatience bounds how long Close waits for the next leader and for what is under way.
const closePatience = 2 * time.Second

// Close hands leadership over if the server leads and can, while it serves on; then it takes nothing new, waits a little for what
// is under way, tells clients whom to ask instead (106 with data.leader), and ends the server. It returns when all its goroutines have ended; calling it again does no harm. The error is Wait's.
func (s *Server) Close() error {
	s.loop.Drain(closePatience)
	return s.Wait()
}

// Run starts a server, serves until ctx ends or the server fails, and closes it.
func Run(ctx context.Context, m machine.Machine, opts Options) error {
	s, err := Start(m, opts)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-s.done:
	}
	return s.Close()
}
