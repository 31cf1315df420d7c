// Package front is what is said on connections: it makes requests of clients' calls, and answers the other servers'
// handshakes, messages and snapshots (package peer). It decodes on the readers of connections, beside the loop, and knows what
// each connection has said; all else it leaves to the loop.
package front

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Front serves the connections of one server.
type Front struct {
	loop       *loop.Loop
	log        *slog.Logger
	rpc        *jsonrpc.Server
	maxTimeout time.Duration
	guard      Guard
	refusals   refusals
	backups    backups
	refused    atomic.Int64 // when somebody last asked in vain, since the loop had ended; in Unix nanoseconds
}

// New makes a front for a loop that has begun. A request may ask for a deadline of maxTimeout at most.
func New(l *loop.Loop, limits jsonrpc.Limits, maxTimeout time.Duration, guard Guard, log *slog.Logger) *Front {
	f := &Front{loop: l, log: log, maxTimeout: maxTimeout, guard: guard}
	f.rpc = &jsonrpc.Server{Handler: f.handle, Closed: f.closed, Security: guard.Security, Limits: limits, Logger: log}
	return f
}

// Serve serves what the listener accepts until Shutdown, then it returns nil; or until the listener fails.
func (f *Front) Serve(l net.Listener) error { return f.rpc.Serve(l) }

// How clients are seen off when the loop has ended. Their next requests are on the way, and a connection that closes would leave
// them in doubt. So they are refused, until none has come for a while; a client that goes on asking is not told more often than
// it needs.
const (
	farewell    = 50 * time.Millisecond // without a request
	maxFarewell = 6 * farewell
	refusalPace = farewell / 2 // on one connection
)

// Shutdown sees the clients off, closes the listeners and the connections, and returns when all their goroutines have ended.
// The loop must have ended.
func (f *Front) Shutdown() error {
	for began := time.Now(); time.Since(time.Unix(0, f.refused.Load())) < farewell && time.Since(began) < maxFarewell; {
		time.Sleep(farewell / 5)
	}
	err := f.rpc.Shutdown(farewell)
	f.backups.opening.Wait()
	return err
}

// refuse tells those who ask when the loop has ended.
func (f *Front) refuse(requests []loop.Request) {
	for _, r := range requests {
		why := f.loop.Stopped()
		f.loop.Refused(loop.MethodOf(&r.Request), why)
		r.Call.Fail(why)
	}
	if len(requests) > 0 {
		f.refused.Store(time.Now().UnixNano())
	}
}

// session is what a connection from another server has said so far. Owner: the connection's reader.
type session struct {
	hello *peer.Hello // the last one, if it named a cluster
	nonce string      // what we answered to it
	from  uint64      // who it has proved to be; 0: nobody yet

	peer     *api.Peer       // who the connection says it is; nil: not looked up yet
	visitor  *Visitor        // it is no server; nil: it may be one
	proved   bool            // it was somebody once
	incoming *loop.Reception // a snapshot on its way in, or nil
	backup   *outgoing       // nil: it has never asked for one
}

func sessionOf(conn *jsonrpc.Conn) *session {
	if v, ok := conn.Value().(*session); ok {
		return v
	}
	v := new(session)
	conn.SetValue(v)
	return v
}

// decoded is memory in which requests wait to be handed over.
var decoded = sync.Pool{New: func() any { return new([]loop.Request) }}

// maxPeerLine bounds a line of another server, in bytes. It is far above what clients may send: what was accepted once
// must pass between servers, several commands and an envelope in one line.
const maxPeerLine = math.MaxInt / 2

// handle takes what a connection has sent, on the connection's reader: it decodes here, and gives the rest to the loop
// in one piece, so that the order is kept.
func (f *Front) handle(calls []jsonrpc.Call) {
	conn := calls[0].Conn()
	pooled := decoded.Get().(*[]loop.Request)
	requests := (*pooled)[:0]
	var messages []*wire.Message
	local := f.loop.Locals()
	size := 0
	ses := sessionOf(conn)
	from := ses.from
	for i := range calls {
		call := &calls[i]
		size += len(call.Params)
		method := call.Method
		if ses.visitor != nil && betweenServers(method) {
			method = "" // it is no server, and can't say that it is one
		}
		refusal := f.refusal(conn, method)
		if refusal == nil {
			refusal = ses.visitor.refuse(method)
		}
		if refusal != nil {
			f.count(method, refusal)
			call.Fail(refusal)
			continue
		}
		switch method {
		case peer.MethodMessage:
			if m := f.handleMessage(conn, call); m != nil {
				messages = append(messages, m)
			}
		case peer.MethodPing:
			call.Result(f.pong(from))
		case peer.MethodHello, peer.MethodJoin, peer.MethodProve, peer.MethodBootstrap:
			f.handshake(conn, call)
		case peer.MethodSnapshot, peer.MethodChunk, peer.MethodInstall:
			f.receive(sessionOf(conn), call)
		case readBackup:
			f.readBackup(conn, call)
		default:
			requests = append(requests, loop.RequestOf(call))
			last := &requests[len(requests)-1]
			err := decodeRequest(&call.Request, &last.Request, f.maxTimeout)
			call.Tag = uint8(loop.MethodOf(&last.Request))
			switch {
			case err != nil:
				f.loop.Refused(loop.Method(call.Tag), err)
				call.Fail(err)
			case last.Op == node.Backup:
				f.beginBackup(conn, call, last.Request)
			}
			if err != nil || last.Op == node.Backup || local.Answer(last) {
				*last = loop.Request{}
				requests = requests[:len(requests)-1]
			}
		}
	}
	taken := f.loop.Deliver(conn, from, messages, requests)
	if !taken {
		f.refuse(requests)
	}
	some := len(requests) > 0 || len(messages) > 0
	clear(requests)
	*pooled = requests
	decoded.Put(pooled)
	conn.Flush()
	switch {
	case !some:
	case !taken:
		time.Sleep(refusalPace)
	case size <= loop.MaxByReader:
		f.loop.OfferTurn(conn)
	default:
		f.loop.Ring()
	}
}

// count counts a client's request that was refused before it was decoded.
func (f *Front) count(name string, why *jsonrpc.Error) {
	var r node.Request
	if m := methods[name]; m != nil {
		r.Op = m.op
	}
	if !betweenServers(name) {
		f.loop.Refused(loop.MethodOf(&r), why)
	}
}

// pong is the answer to a ping: to a member, the sizes of the log file.
func (f *Front) pong(from uint64) json.RawMessage {
	if from == 0 {
		return nil
	}
	b, err := wire.Marshal(f.loop.Pong())
	if err != nil {
		panic(fmt.Sprintf("raftpico: encode a pong: %v", err)) // numbers: it can't fail
	}
	return b
}

// handleMessage decodes a message, on the reader of a connection that has proved to be a member's.
func (f *Front) handleMessage(conn *jsonrpc.Conn, call *jsonrpc.Call) *wire.Message {
	if sessionOf(conn).from == 0 {
		call.Fail(node.ErrNotMember.Because("this connection has not made itself known as a member"))
		return nil
	}
	m, err := wire.DecodeMessageIn(call.Params, call.Memory())
	if err != nil {
		f.log.Warn("bad message", "server", sessionOf(conn).from, "err", fmt.Sprintf("%.200s", err))
		if unknown := new(wire.UnknownError); errors.As(err, &unknown) { // it will come again, and this server can't go on without it
			f.loop.Fail(fmt.Errorf("front: server %d says something new: %w", sessionOf(conn).from, unknown))
		}
		call.Fail(jsonrpc.ErrInvalidParams.Because(cut(err)))
		return nil
	}
	call.Result(nil) // a notification: this only says that we are done with it
	return m
}

// closed is called when a connection is gone, after the last call of handle for it.
func (f *Front) closed(conn *jsonrpc.Conn) {
	sessionOf(conn).drop()
	if out := sessionOf(conn).backup; out != nil {
		out.end()
	}
	if sessionOf(conn).proved {
		f.loop.Forget(conn)
	}
	f.loop.Gone()
}

// cut is what err says, shortened for an answer: a decoder's error may quote all that it was given.
func cut(err error) string {
	const limit = 200 // bytes
	text := err.Error()
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}
