package loop

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
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

// Config says how a loop runs. All is set, but for File.
type Config struct {
	Machine machine.Machine // the loop's until Close has returned
	File    string          // of the log; empty: the server runs in memory
	FS      storage.FS
	Dial    peer.Dial
	Logger  *slog.Logger

	Security jsonrpc.Security // of what is dialled; nil: none

	Deadline       time.Duration // of every request that says none itself
	MaxTimeout     time.Duration // the longest that one may say
	MaxPending     int           // requests under way, without those that wait for the machine
	MaxWaiting     int           // requests that wait for the machine
	WaitingBytes   int           // bytes of the inputs of queries among them
	MaxUncommitted int           // bytes of commands under way
	Founders       []string      // see node.Config
	Joining        bool          // the same
	CheckState     time.Duration // from one comparison of the states to the next; 0: none
	RemoveDead     time.Duration // after what silence a leader removes a member; 0: none
	CompactAfter   int           // bytes of log that call for a snapshot
	MaxQueue       int           // bytes that may wait for one of the other servers
}

// self is what every part of the loop knows of its server: what is set, the core, and the ways to the loop and beside it.
type self struct {
	Config
	inbox    inbox
	node     *node.Node // owner: the turn; nil while it is being made
	addr     string
	instance string
	cluster  string                        // that this server would create
	version  int                           // of the machine
	identity atomic.Pointer[wire.Identity] // as durable in the log; nil: none yet
	beside   beside
	ended    chan struct{} // closed when there are no more turns
}

// beside are the goroutines that do for the loop what takes long. Each ends with its work, at the latest soon after stop.
type beside struct {
	sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
}

func newSelf(c Config) *self {
	s := &self{Config: c, version: node.MachineVersion(c.Machine), ended: make(chan struct{})}
	s.inbox.wake = make(chan struct{}, 1)
	s.beside.ctx, s.beside.stop = context.WithCancel(context.Background())
	return s
}

// over tells whether the loop has ended.
func (s *self) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// ask runs f on the loop and waits for it. Readers may wait: the loop never waits for them.
func (s *self) ask(f func() error) error { return s.askWhile(context.Background(), f) }

// askWhile is ask that waits while a context lasts. Then f may still be carried out.
func (s *self) askWhile(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	if !s.inbox.post(func() { done <- f() }) {
		return errStopped
	}
	select {
	case err := <-done:
		return err
	case <-s.ended:
		return errStopped
	case <-ctx.Done():
		return node.ErrBusy.Because("the disk does not answer")
	}
}

var errStopped = node.ErrRejected.Because("the server has stopped")

// publish makes this server's place in a cluster known to the readers of connections, when it is durable and before
// anybody is told of it.
func (s *self) publish(records ...*wire.Record) {
	for _, r := range records {
		if r.Identity != nil {
			s.identity.Store(new(*r.Identity))
		}
	}
}

// random draws 128 bits, in hex.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
