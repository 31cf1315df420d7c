package raftpico

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Server is a running server. Its methods may be called from any goroutine, but not from inside its machine.
//
// Goroutines: the loop (loop.go); those of the jsonrpc server, one or two a connection; two a link to another server
// (package peer); helpers, which accept, probe an address or end a link. Close waits for all of them.
type Server struct {
	opts     Options
	machine  machine.Machine
	instance string
	inbox    inbox
	loop     *loop
	rpc      *jsonrpc.Server
	identity atomic.Pointer[wire.Identity] // as durable in the log; nil: none yet
	refusals refusals
	loading  sync.Mutex // one Load at a time

	logBytes, snapshotBytes atomic.Int64 // of the log file, for other servers

	helpers  sync.WaitGroup
	cancel   context.CancelFunc // ends probes
	probes   context.Context
	loopDone chan struct{} // closed when the loop has ended
	done     chan struct{} // closed when everything has
	err      error         // why the server failed; valid after done
}

// Start starts a server of m and returns when it listens. A server with an empty file belongs to no cluster: it waits
// for CreateCluster, or for AddServer on a member of one. The machine belongs to the server until Close has returned.
func Start(m machine.Machine, opts Options) (*Server, error) {
	s, err := start(m, opts)
	if err != nil {
		return nil, fmt.Errorf("raftpico: start: %w", err)
	}
	return s, nil
}

func start(m machine.Machine, opts Options) (*Server, error) {
	opts, err := opts.filled()
	if err != nil {
		return nil, err
	}
	s := &Server{machine: m, loopDone: make(chan struct{}), done: make(chan struct{})}
	s.inbox.wake = make(chan struct{}, 1)
	l := &loop{server: s, links: map[uint64]*peer.Link{}, peers: map[uint64]node.Peer{}, pongs: map[uint64]peer.Pong{}, heard: map[*jsonrpc.Conn]uint64{}, began: time.Now(), turns: turns{timer: time.NewTimer(0)}, dirty: map[*jsonrpc.Conn]struct{}{}}
	s.loop = l
	stored, err := l.open(m, opts)
	if err != nil {
		if opts.Listener != nil {
			err = errors.Join(err, opts.Listener.Close())
		}
		return nil, err
	}
	if err := opts.listen(); err != nil {
		return nil, errors.Join(err, l.closeLog())
	}
	s.opts, s.instance = opts, stored.Instance
	s.probes, s.cancel = context.WithCancel(context.Background())
	l.node, err = node.New(node.Config{
		Machine: m, Addr: opts.Addr, Boot: random()[:16], ClusterID: random(), ClusterKey: random() + random(),
		Deadline: opts.Limits.Deadline, MaxPending: opts.Limits.MaxPending, MaxUncommitted: uint64(opts.Limits.MaxUncommitted), CompactAfter: uint64(opts.Limits.CompactAfter),
		MessageSize: messageSize, PageSize: pageSize, HeartbeatTicks: heartbeatTicks, HoldCommands: holdCommands, HoldNotices: holdNotices,
		Logger: opts.Logger.With("self", opts.Addr),
	}, l, stored)
	if err != nil {
		s.cancel()
		return nil, errors.Join(err, opts.Listener.Close(), l.closeLog())
	}
	if identity, ok := l.node.Identity(); ok {
		s.identity.Store(&identity)
	}
	l.SetPeers(l.node.Peers())
	s.rpc = &jsonrpc.Server{Handler: s.handle, Closed: s.connClosed, Limits: opts.Limits.connection(), Logger: opts.Logger}
	opts.Logger.Info("server started", "addr", opts.Addr, "file", opts.File)
	go s.run()
	s.helpers.Go(func() {
		if err := s.rpc.Serve(opts.Listener); err != nil {
			s.fail(fmt.Errorf("raftpico: listen: %w", err))
		}
	})
	return s, nil
}

// open opens the log file and tells what it holds; the machine has the state that its snapshot holds. Without a file there is only a new instance.
func (l *loop) open(m machine.Machine, opts Options) (node.Stored, error) {
	instance := random()
	if opts.InMemory {
		return node.Stored{Instance: instance}, nil
	}
	if err := os.MkdirAll(filepath.Dir(opts.File), 0o700); err != nil {
		return node.Stored{}, err
	}
	log, state, err := storage.Open(storage.OS, opts.File, instance)
	if err != nil {
		return node.Stored{}, err
	}
	if state.Cut > 0 {
		opts.Logger.Warn("the log ended in the middle of a line that was never acknowledged; it was cut", "file", opts.File, "bytes", state.Cut)
	}
	l.log = log
	stored := node.Stored{Instance: state.Header.Instance, Identity: state.Identity, Snapshot: state.Snapshot,
		HardState: state.HardState, Prev: state.Prev, Entries: state.Entries}
	if state.Snapshot != nil {
		if stored.StateSize, err = restore(m, log); err != nil {
			return node.Stored{}, errors.Join(fmt.Errorf("the snapshot in %s: %w", opts.File, err), log.Close())
		}
	}
	return stored, nil
}

// restore sets a machine to the state in a log's snapshot, and returns its size in bytes.
func restore(m machine.Machine, log *storage.Log) (size uint64, err error) {
	state, err := log.OpenState()
	if err != nil {
		return 0, err
	}
	defer state.Close()
	install, err := node.Load(m, state, state.Size())
	if err != nil {
		return 0, err
	}
	return uint64(state.Size()), install()
}

func (l *loop) closeLog() error {
	if l.log == nil {
		return nil
	}
	return l.log.Close()
}

// random draws 128 bits, in hex.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// run is the goroutine of the loop, and afterwards ends everything else.
func (s *Server) run() {
	defer close(s.done)
	s.err = s.loop.run()
	close(s.loopDone)
	items, requests := s.inbox.close()
	for _, item := range items {
		item()
	}
	s.loop.carryOut(requests, time.Hour) // the core refuses them by now, but answers them
	s.loop.flush()
	s.cancel()
	for id, link := range s.loop.links {
		s.loop.endLink(id, link)
	}
	err := s.rpc.Shutdown(farewell)
	s.helpers.Wait()
	if err == nil {
		err = s.loop.closeLog()
	}
	switch {
	case s.err != nil:
		s.opts.Logger.Error("server failed", "addr", s.opts.Addr, "err", s.err)
	case err != nil:
		s.err = fmt.Errorf("raftpico: close: %w", err)
	default:
		s.opts.Logger.Info("server stopped", "addr", s.opts.Addr)
	}
}

// fail ends the server because of something outside the loop.
func (s *Server) fail(err error) {
	s.inbox.post(func() { s.loop.node.Fail(err) })
}

// probing bounds a probe: an address that accepts and says nothing is given up well before the request's deadline.
func (s *Server) probing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.probes, min(s.opts.Limits.Deadline/2, 3*time.Second))
}

// Addr is the address at which others reach the server.
func (s *Server) Addr() string { return s.opts.Addr }

// heartbeatTicks is from one heartbeat to the next: 3 of the 10 that a follower waits at least. Most of what an idle cluster
// costs is waking up for them.
const heartbeatTicks = 3

// Bytes of entries in one message to another server, and of committed entries that the library hands out at once.
const (
	messageSize = 1 << 20
	pageSize    = 4 << 20
)

// How long a command may wait for others at least, if there are such that it should wait for, and a follower none of whose
// clients waits for it, for the news of a commit: little beside what a turn takes on two busy cores.
const (
	holdCommands = time.Millisecond
	holdNotices  = 2 * time.Millisecond
)

// Wait waits until the server has ended. It returns nil after Close, else why it failed: a disk that could not be
// written, a machine that panicked.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// farewell is how long clients are still answered, with a refusal, when the server has stopped: their next requests are
// on the way, and a connection that closes would leave them in doubt.
const farewell = 50 * time.Millisecond

// closePatience bounds how long Close waits for the next leader and for what is under way.
const closePatience = 2 * time.Second

// Close hands leadership over if the server leads and can, waits a little for what is under way, answers the rest, and
// ends the server. It returns when all its goroutines have ended; calling it again does no harm. The error is Wait's.
func (s *Server) Close() error {
	s.inbox.post(func() {
		if s.loop.stopBy.IsZero() {
			s.loop.stopBy = time.Now().Add(closePatience)
			s.loop.node.Drain()
		}
	})
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
