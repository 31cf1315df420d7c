package raftpico

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/addr"
	"github.com/raftpico/go/raftpico/internal/front"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/storage"
)

// Options say how a server runs. They are checked once, in Start.
type Options struct {
	// Addr is the host:port at which clients and the other servers reach this one; names are resolved at each dial.
	// It can't be a wildcard such as 0.0.0.0 or :4000, since others could not dial that. It is listened on unless
	// ListenAddr or Listener is given. A port 0 is replaced by the one that is listened on. A member may be started at
	// another Addr than before: the others learn of it, and the member list follows.
	Addr string

	// ListenAddr, if not empty, is listened on instead of Addr: host:port, also of a wildcard such as :4000 or [::]:4000.
	ListenAddr string

	// File is the path of the log. It is created if absent, with its directory. One server at a time may have it open.
	// A symbolic link stays one. Each snapshot makes a new file beside it, FILE.new, which takes its place: so its folder
	// must be writable, and a container mounts the folder, not the file. A server whose file is deleted, moved or
	// replaced while it runs ends within seconds, and saves the content as FILE.rescued.
	File string

	// InMemory runs without a file. Such a server forgets its votes when it stops, so it can't come back: remove it
	// and add it anew. Either File or InMemory must be set.
	InMemory bool

	// Join lets a server that belongs to no cluster ask the servers at these addresses to add it, less and less often, up to
	// every 2 s or so, until one has done it. Its own may be among them. A server that belongs to a cluster looks for members there
	// that it can't reach at their addresses: they may have moved. [Server.Ready] waits for the end of it.
	Join []string

	// Bootstrap, if not 0, is the number of the addresses in Join, at most 32, this server's among them. These servers create one
	// cluster if none of them belongs to one: the one whose address sorts first as a text does it, when all others are there
	// and have promised to do nothing else. All must be started with the same Join and Bootstrap; one with another list is refused,
	// and logs why. They may be started in any order. NB: If all of these servers lose their files, they create another cluster,
	// whoever was added to the first one: leave Bootstrap away when it has grown.
	Bootstrap int

	// Timeouts are those of a cluster that Bootstrap creates.
	Timeouts Timeouts

	// LeaseReads is what [Configuration] says, for a cluster that Bootstrap creates.
	LeaseReads bool

	// Listener, if not nil, is listened on instead of Addr. The server closes it. It excludes ListenAddr.
	Listener net.Listener

	// Dial, if not nil, opens the connections to other servers. It must heed its context. Nil is TCP. Of a name with several
	// addresses it takes the one that accepts first, and begins with another one each time.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// TLS, if not nil, secures all connections, those of Listener and Dial too, which are plain then: package
	// github.com/raftpico/go/secure makes one of certificate files. Whoever dials must show a certificate, and only one with
	// the extended key usage serverAuth may speak as a server. Nil is plain TCP.
	TLS Security

	// Authorize, if not nil, is asked for each request of a client whether it is permitted, before anything is decoded but its method. An
	// error refuses it: the client gets ErrNotPermitted, with the error's text as the reason, and nothing is changed. Calls
	// in process are not asked for, nor are those between servers, which prove themselves. It is called from many
	// goroutines at once, and holds up its connection until it returns. A panic in it is logged, and refuses the request.
	Authorize func(p Peer, method string) error

	// Logger, if not nil, gets what happens to roles, membership, links and files; nothing for each request. Nil is
	// slog.Default. It may block: a goroutine of the server's own calls it, and what it does not take is dropped and
	// counted. Of each message, 30 are logged at once and then one a second.
	Logger *slog.Logger

	// CheckState is how often the servers compare hashes of their states, if any command was applied since: so that a
	// machine that is not deterministic is found out. A difference is logged as an error, and shown in GetServerState.
	// Zero is every 5 minutes, below is never. A machine that is neither a machine.Snapshotter nor a machine.Hasher, and
	// whose last snapshot was larger than 16 MiB, is compared at TakeSnapshots and CheckStates only. The leader's counts.
	CheckState time.Duration

	// RemoveDead is after what silence of a member the leader removes it, as by RemoveServer: 72 hours, say. A voter is
	// removed only if, of the voters that are left, a majority and one more are alive: never one of three. A learner, if a
	// majority of the voters is. Zero is never; the least is ten election timeouts. The silence is counted by the leader, and
	// anew by the next one. What was removed is logged as a warning, and counted in GetServerState. The leader's counts.
	RemoveDead time.Duration

	Limits Limits
}

type (
	// Security makes plain connections secure. Package github.com/raftpico/go/secure has one of TLS. NB: The accepting side must be a
	// jsonrpc.Identified, or nobody is a server.
	Security = jsonrpc.Security

	// Peer is who sends a request.
	Peer = api.Peer
)

// Limits bounds what clients and slow peers can make a server hold. Zero means the default.
type Limits struct {
	Deadline       time.Duration // every request that says no timeout_ms is answered within it: 10 s; a day at most
	MaxTimeout     time.Duration // the longest timeout_ms, and the longest deadline of a context, that is heeded: 5 minutes; a day at most
	MaxLine        int           // bytes of a client's line, and of an input in process: 16 MiB
	MaxConns       int           // connections, of which an idle one gives way to a newcomer: 16,384, or 40 less than there are descriptors
	MaxPending     int           // requests under way in the server; beyond, 110 in process, and clients wait: 100,000
	MaxWaiting     int           // requests beside those that wait for the machine: deferred commands and waiting queries; beyond, 107 and 110: 100,000
	MaxUncommitted int           // bytes of commands under way in the server; beyond, 110: as Budget, so that clients wait before
	MaxUnderway    int           // requests under way on a connection; beyond, it is not read: 16,384
	MaxUnsent      int           // bytes of answers a connection may leave unread; beyond, it is closed: 64 MiB
	Budget         int           // bytes of all connections, read or unsent; beyond, the greediest are paused or closed: 256 MiB
	CompactAfter   int           // bytes of log that call for a snapshot, at least; up to four times as many where one takes much: 64 MiB
	MaxQueue       int           // bytes that may wait for one of the other servers; beyond, messages are dropped: 64 MiB
}

func (l Limits) filled() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if l.Deadline == 0 {
		l.Deadline = 10 * time.Second
	}
	if l.MaxTimeout == 0 {
		l.MaxTimeout = max(5*time.Minute, l.Deadline)
	}
	set(&l.MaxLine, 16<<20)
	set(&l.MaxConns, 16384)
	set(&l.MaxPending, 100_000)
	set(&l.MaxWaiting, 100_000)
	set(&l.MaxUnderway, 16384)
	set(&l.MaxUnsent, 64<<20)
	set(&l.Budget, 256<<20)
	set(&l.MaxUncommitted, l.Budget)
	set(&l.MaxQueue, 64<<20)
	set(&l.CompactAfter, 64<<20)
	return l
}

func (l Limits) check() error {
	if l.Deadline < 0 || l.Deadline > 24*time.Hour {
		return fmt.Errorf("Limits.Deadline is %v", l.Deadline)
	}
	if l.MaxTimeout < 0 || l.MaxTimeout > 24*time.Hour {
		return fmt.Errorf("Limits.MaxTimeout is %v", l.MaxTimeout)
	}
	for _, v := range []int{l.MaxLine, l.MaxConns, l.MaxPending, l.MaxWaiting, l.MaxUncommitted, l.MaxUnderway, l.MaxUnsent, l.Budget, l.MaxQueue, l.CompactAfter} {
		if v < 0 {
			return errors.New("a limit is negative")
		}
	}
	return nil
}

// reservedFiles is how many file descriptors clients can't take: about 10 for the process, the listener, the log, its
// directory and a new log; and for each of six other servers a link to it, and a connection and a handle of the log while a
// snapshot goes to it; the rest for probes and for what the embedder opens. With `ulimit -n 64` that leaves 24 connections.
const reservedFiles = 40

func (l Limits) connection() jsonrpc.Limits {
	return jsonrpc.Limits{
		MaxLine: l.MaxLine, MaxConns: l.MaxConns, Reserve: reservedFiles, MaxUnderway: l.MaxUnderway,
		MaxRequests: max(l.MaxPending-l.MaxPending/8, 1), // the rest is for callers in process
		MaxUnsent:   l.MaxUnsent, Budget: l.Budget,
	}
}

func (o Options) guard() front.Guard { return front.Guard{Security: o.TLS, Authorize: o.Authorize} }

func (o Options) loop(m machine.Machine) loop.Config {
	c := loop.Config{Founders: o.founders(), Joining: len(o.Join) > 0, CheckState: max(o.CheckState, 0), RemoveDead: o.RemoveDead, Machine: m, FS: storage.OS, Dial: o.Dial, Security: o.TLS, Logger: o.Logger, Deadline: o.Limits.Deadline, MaxTimeout: o.Limits.MaxTimeout, MaxPending: o.Limits.MaxPending, MaxWaiting: o.Limits.MaxWaiting, WaitingBytes: o.Limits.Budget / 4,
		MaxUncommitted: o.Limits.MaxUncommitted, CompactAfter: o.Limits.CompactAfter, MaxQueue: o.Limits.MaxQueue}
	if !o.InMemory {
		c.File = o.File
	}
	return c
}

// filled is o with the defaults in place of zeros.
func (o Options) filled() (Options, error) {
	if (o.File == "") != o.InMemory {
		return o, errors.New("set either File or InMemory")
	}
	if o.ListenAddr != "" && o.Listener != nil {
		return o, errors.New("set either ListenAddr or Listener")
	}
	if o.RemoveDead < 0 {
		return o, fmt.Errorf("RemoveDead is %v", o.RemoveDead)
	}
	if err := o.Limits.check(); err != nil {
		return o, err
	}
	if err := o.checkJoin(); err != nil {
		return o, err
	}
	if err := o.checkEarly(); err != nil {
		return o, err
	}
	if able, ok := o.TLS.(interface{ ForServer() error }); ok {
		if err := able.ForServer(); err != nil {
			return o, err
		}
	}
	o.Limits = o.Limits.filled()
	if o.CheckState == 0 {
		o.CheckState = 5 * time.Minute
	}
	if o.Dial == nil {
		o.Dial = addr.Dial
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// listen opens the listener, and completes a port 0 in Addr.
func (o *Options) listen() error {
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", o.Addr, err)
	}
	if port == "0" {
		_, err = addr.Canonical(net.JoinHostPort(host, "1"))
	} else {
		o.Addr, err = addr.Canonical(o.Addr)
	}
	if err != nil {
		return err
	}
	if o.Listener == nil {
		if o.Listener, err = net.Listen("tcp", cmp.Or(o.ListenAddr, o.Addr)); err != nil {
			return err
		}
	}
	if tcp, ok := o.Listener.Addr().(*net.TCPAddr); ok && port == "0" {
		o.Addr, err = addr.Canonical(net.JoinHostPort(host, strconv.Itoa(tcp.Port)))
	}
	return err
}
