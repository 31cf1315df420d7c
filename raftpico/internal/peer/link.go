package peer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/advice"
	"github.com/raftpico/go/raftpico/internal/logs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Options are what all links of a server share.
type Options struct {
	Local    Local
	Dial     Dial
	Security jsonrpc.Security             // of what is dialled; nil: none
	MaxQueue int                          // bytes that may wait in a link; a message beyond is not taken
	Event    func(link *Link, what Event) // called from the link's goroutine; must not block
	Pong     func(link *Link, p Pong)     // the same
	Logger   *slog.Logger
}

// Event is what happens to a link.
type Event uint8

const (
	Up        Event = iota // authenticated; Send works from now on
	Down                   // gone, with all that was queued
	Removed                // the other side says that this server was removed from the cluster
	Lost                   // a snapshot did not get through
	Spoiled                // it could not be read here, which comes after Lost
	Delivered              // one did, and is installed
)

// The pace of a link.
const (
	dialTimeout  = time.Second     // a lost SYN is sent anew by dialling anew, not by TCP's ever slower retries
	helloTimeout = 3 * time.Second // for dial and handshake together
	pingInterval = time.Second
	pongTimeout  = 5 * time.Second // without an answer the connection is dead, whatever TCP believes
	writeTimeout = 5 * time.Second // a peer that takes nothing for so long is cut off
	minBackoff   = 20 * time.Millisecond
	maxBackoff   = 500 * time.Millisecond
	maxWrite     = 1 << 20 // bytes encoded at a time; a message may exceed it
)

// Link sends messages to one server, in order, over one connection at a time. What a connection has not sent when it
// dies is dropped, never sent over the next one: Raft sends anew what it must, and a proposal sent twice would be
// applied twice.
//
// Its goroutine dials, introduces this server, and writes; a second one, while a connection lives, notices its end.
type Link struct {
	ID   uint64
	opts Options
	ctx  context.Context // of the link's life
	stop context.CancelFunc
	done chan struct{}
	bulk sync.WaitGroup // snapshots under way, see bulk.go

	mu      sync.Mutex
	to      Target
	tries   int    // dials that led nowhere since the target has changed: each address is tried in turn
	at      string // the address of the living connection
	up      bool
	version int             // of the other server's machine
	level   int             // what its release can read
	upCtx   context.Context // of the living connection
	downFn  context.CancelFunc
	conn    net.Conn
	direct  *jsonrpc.TryWriter // to conn; nil where there is none
	queue   []*wire.Message
	rest    []byte        // of a line that the kernel has not taken, goes before queue
	queued  int           // bytes in both
	writing bool          // the goroutine writes, and takes what is queued when it is through
	wake    chan struct{} // capacity 1
	traffic Traffic       // so far
	sending *sending      // the transfer of a snapshot that is under way, or nil
	scratch []byte        // memory of Flush
}

// Start begins to keep a link to a server.
func Start(opts Options, to Target) *Link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{ID: to.ID, opts: opts, to: to, ctx: ctx, stop: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go l.run(ctx)
	return l
}

// Close ends the link and waits for its goroutine.
func (l *Link) Close() {
	l.stop()
	<-l.done
	l.bulk.Wait()
}

// Send queues a message for the living connection, which Flush sends. False means that it was not taken. It never blocks.
func (l *Link) Send(m *wire.Message) bool {
	size := sizeOf(m)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up || l.queued > 0 && l.queued+size > l.opts.MaxQueue {
		return false
	}
	l.queue = append(l.queue, m)
	l.queued += size
	return true
}

// maxDirect bounds what Flush writes itself, in bytes: a little is written sooner than a goroutine wakes up.
const maxDirect = 64 << 10

// Flush sends what is queued: a little at once, as far as the kernel takes it, the rest on the link's goroutine. It never blocks.
func (l *Link) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 || l.writing {
		return
	}
	if l.direct == nil || len(l.rest) > 0 || l.queued > maxDirect || !l.writeDirect() {
		select {
		case l.wake <- struct{}{}:
		default: // it has not yet seen an earlier one
		}
	}
}

// writeDirect writes what is queued, and tells whether nothing is left. The caller holds mu.
func (l *Link) writeDirect() bool {
	buf := l.scratch[:0]
	for _, m := range l.queue {
		var err error
		if buf, err = appendLine(buf, m); err != nil {
			return false // the goroutine will find it too, and end the connection
		}
	}
	n, err := l.direct.Try(buf)
	if err != nil {
		_ = l.conn.Close() // which the goroutine notices
	}
	l.traffic.Messages += uint64(len(l.queue))
	l.traffic.Bytes += uint64(n)
	clear(l.queue)
	l.queue, l.rest, l.scratch = l.queue[:0], bytes.Clone(buf[n:]), buf
	l.queued = len(l.rest)
	return l.queued == 0
}

func (l *Link) run(ctx context.Context) {
	defer close(l.done)
	backoff := minBackoff
	last := map[string]string{} // by address
	for ctx.Err() == nil {
		began := time.Now()
		at := l.address()
		err := l.serve(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == error(ErrRemoved): // the very value: errors.Is compares codes alone
			l.opts.Event(l, Removed)
		case logs.Gist(err.Error()) != last[at]: // once for each new reason
			if len(last) >= maxReasons {
				clear(last)
			}
			last[at] = logs.Gist(err.Error())
			l.opts.Logger.Info("no link", "server", l.ID, "addr", at, "err", advice.On(err))
		}
		if time.Since(began) > 2*maxBackoff {
			backoff = minBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// serve keeps one connection until it ends, and says why it did.
func (l *Link) serve(ctx context.Context) error {
	at := l.address()
	x, err := l.open(ctx, at)
	if err != nil {
		l.tryNext()
		return err
	}
	conn := x.conn
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	over := make(chan error, 1)
	go func() { // ends when conn does; owns x.in
		over <- l.hearPongs(conn, x.in)
		conn.Close()
	}()
	l.setUp(ctx, conn, at, x)
	l.opts.Event(l, Up)
	err = l.write(conn, over)
	l.setDown()
	l.opts.Event(l, Down)
	conn.Close()
	if ended := <-over; err == nil {
		err = ended
	}
	return fmt.Errorf("peer: link lost: %w", err)
}

// open dials an address and introduces this server.
func (l *Link) open(ctx context.Context, at string) (*exchange, error) {
	opening, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	dialling, dialled := context.WithTimeout(opening, dialTimeout)
	plain, err := l.opts.Dial(dialling, "tcp", at)
	dialled()
	if err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(opening, func() { plain.Close() })
	conn, err := jsonrpc.Secure(opening, l.opts.Security, plain, at)
	if err != nil {
		return nil, err
	}
	x := newExchange(conn)
	to := l.target()
	if err := x.introduce(l.opts.Local, to.Name, at == to.Addr); err != nil {
		conn.Close()
		return nil, err
	}
	if !unwatch() {
		conn.Close()
		return nil, fmt.Errorf("peer: server %d took too long to answer", l.ID)
	}
	return x, nil
}

// setUp opens the queue.
func (l *Link) setUp(ctx context.Context, conn net.Conn, at string, x *exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.conn, l.direct, l.at = true, conn, jsonrpc.NewTryWriter(conn).Quietly(), at
	l.version, l.level = x.version, x.level
	l.upCtx, l.downFn = context.WithCancel(ctx)
}

// setDown closes it, drops what is in it, and breaks off the transfer of a snapshot.
func (l *Link) setDown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.conn, l.direct = false, nil, nil
	l.queue, l.rest, l.queued, l.writing = nil, nil, 0, false
	l.downFn()
}

// write pings, and sends what Flush leaves, until the connection ends.
func (l *Link) write(conn net.Conn, over chan error) error {
	var buf []byte
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		due := false
		select {
		case <-l.wake:
		case <-ping.C:
			due = true
		case err := <-over:
			over <- err
			return err
		}
		for {
			rest, messages := l.take(due)
			if len(rest) == 0 && len(messages) == 0 && !due {
				break
			}
			buf = append(buf[:0], rest...)
			if due {
				buf, due = append(buf, pingLine...), false
			}
			var err error
			if buf, err = writeMessages(metered{conn, l}, buf, messages); err != nil {
				return err
			}
			clear(messages) // the queue behind them has the same memory
		}
		if cap(buf) > 4*maxWrite {
			buf = nil
		}
	}
}

const pingLine = `{"jsonrpc":"2.0","method":"` + MethodPing + `","id":0}` + "\n"

// take hands what waits to the goroutine, which writes until there is nothing more: maxWrite at a time, or one message, so that what
// it has in its hands is little beside what is counted as queued.
func (l *Link) take(due bool) (rest []byte, messages []*wire.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest, l.rest = l.rest, nil
	size, n := len(rest), 0
	for ; n < len(l.queue) && size < maxWrite; n++ {
		size += sizeOf(l.queue[n])
	}
	messages, l.queue = l.queue[:n:n], l.queue[n:]
	l.traffic.Messages += uint64(n)
	if len(l.queue) == 0 {
		l.queue = nil
	}
	l.queued -= size
	l.writing = due || len(rest) > 0 || len(messages) > 0
	return rest, messages
}

// writeMessages writes buf and the messages, in few writes. It returns the memory for the next ones.
func writeMessages(conn net.Conn, buf []byte, messages []*wire.Message) ([]byte, error) {
	for _, m := range messages {
		var err error
		if buf, err = appendLine(buf, m); err != nil {
			return buf, err
		}
		if len(buf) >= maxWrite {
			if err := writeAll(conn, buf); err != nil {
				return buf, err
			}
			buf = buf[:0]
		}
	}
	return buf, writeAll(conn, buf)
}

// appendLine appends the notification that carries a message.
func appendLine(dst []byte, m *wire.Message) ([]byte, error) {
	dst = append(dst, `{"jsonrpc":"2.0","method":"`+MethodMessage+`","params":`...)
	dst, err := wire.AppendMessage(dst, m)
	return append(dst, '}', '\n'), err
}

// writeAll writes a piece at a time, so that the timeout speaks of a peer that takes nothing, not of a long message.
func writeAll(conn net.Conn, b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), maxWrite)]
		if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := conn.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
	}
	return conn.SetWriteDeadline(time.Time{}) // Flush has none: it waits for nothing
}
