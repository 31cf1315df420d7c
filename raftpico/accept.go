package raftpico

import (
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// session is what a connection from another server has said so far. Owner: the connection's reader.
type session struct {
	hello *peer.Hello // the last one, if it named a cluster
	nonce string      // what we answered to it
	from  uint64      // who it has proved to be; 0: nobody yet

	proved   bool       // it was somebody once
	incoming *reception // a snapshot on its way in, or nil
}

// decoded is memory in which requests wait to be handed over.
var decoded = sync.Pool{New: func() any { return new([]request) }}

// maxPeerLine bounds a line of another server, in bytes. It is far above what clients may send: what was accepted once
// must pass between servers, several commands and an envelope in one line.
const maxPeerLine = math.MaxInt / 2

// maxHandshake bounds the params of a step of the handshake, in bytes. They come from anybody, and what a Hello says is
// kept with the connection, past the budget of unread bytes.
const maxHandshake = 4 << 10

// maxPeerDepth bounds the nesting of another server's line: that of a machine's state in a snapshot, and the envelope.
const maxPeerDepth = 2048

// handle takes what a connection has sent, on the connection's reader: it decodes here, and gives the rest to the loop
// in one piece, so that the order is kept.
func (s *Server) handle(calls []jsonrpc.Call) {
	conn := calls[0].Conn()
	pooled := decoded.Get().(*[]request)
	requests := (*pooled)[:0]
	var messages []*wire.Message
	local := locals{loop: s.loop}
	size := 0
	from := sessionOf(conn).from
	for i := range calls {
		call := &calls[i]
		size += len(call.Params)
		switch call.Method {
		case peer.MethodMessage:
			if m := s.handleMessage(conn, call); m != nil {
				messages = append(messages, m)
			}
		case peer.MethodPing:
			call.Result(s.pong(from))
		case peer.MethodHello, peer.MethodJoin, peer.MethodProve:
			s.handshake(conn, call)
		case peer.MethodSnapshot, peer.MethodChunk, peer.MethodInstall:
			s.receive(sessionOf(conn), call)
		default:
			requests = append(requests, request{caller: call, call: call})
			last := &requests[len(requests)-1]
			err := decodeRequest(&call.Request, &last.request)
			if err != nil {
				call.Fail(err)
			}
			if err != nil || local.answer(call, &last.request) {
				*last = request{}
				requests = requests[:len(requests)-1]
			}
		}
	}
	if !s.inbox.put(s.delivery(conn, from, messages), requests...) {
		for _, r := range requests {
			r.call.Fail(ErrRejected.Because("the server has stopped"))
		}
	}
	some := len(requests) > 0 || len(messages) > 0
	clear(requests)
	*pooled = requests
	decoded.Put(pooled)
	conn.Flush()
	switch {
	case !some:
	case size <= maxByReader:
		s.loop.offerTurn()
	default:
		s.inbox.ring()
	}
}

// pong is the answer to a ping: to a member, the sizes of the log file.
func (s *Server) pong(from uint64) json.RawMessage {
	if from == 0 {
		return nil
	}
	b, err := wire.Marshal(peer.Pong{LogBytes: s.logBytes.Load(), SnapshotBytes: s.snapshotBytes.Load()})
	if err != nil {
		panic(fmt.Sprintf("raftpico: encode a pong: %v", err)) // numbers: it can't fail
	}
	return b
}

// delivery gives messages of a proven member to the core, if there are any.
func (s *Server) delivery(conn *jsonrpc.Conn, from uint64, messages []*wire.Message) func() {
	if len(messages) == 0 {
		return nil
	}
	return func() {
		for _, m := range messages {
			if err := s.loop.node.Message(from, m); err != nil {
				s.opts.Logger.Info("connection closed", "server", from, "err", err)
				conn.Close() // it says hello again, and is told
				return
			}
		}
	}
}

func sessionOf(conn *jsonrpc.Conn) *session {
	if v, ok := conn.Value().(*session); ok {
		return v
	}
	v := new(session)
	conn.SetValue(v)
	return v
}

// handleMessage decodes a message, on the reader of a connection that has proved to be a member's.
func (s *Server) handleMessage(conn *jsonrpc.Conn, call *jsonrpc.Call) *wire.Message {
	if sessionOf(conn).from == 0 {
		call.Fail(ErrNotMember.Because("this connection has not made itself known as a member"))
		return nil
	}
	m, err := wire.DecodeMessage(call.Params)
	if err != nil {
		s.opts.Logger.Warn("bad message", "server", sessionOf(conn).from, "err", fmt.Sprintf("%.200s", err))
		call.Fail(jsonrpc.ErrInvalidParams.Because(cut(err)))
		return nil
	}
	call.Result(nil) // a notification: this only says that we are done with it
	return m
}

// handshake answers a step of the handshake (see package peer).
func (s *Server) handshake(conn *jsonrpc.Conn, call *jsonrpc.Call) {
	var result any
	var err error
	switch {
	case len(call.Params) > maxHandshake:
		err = jsonrpc.ErrInvalidParams.Because("a handshake this long is none")
	case call.Method == peer.MethodHello:
		result, err = s.hello(sessionOf(conn), call.Params)
	case call.Method == peer.MethodJoin:
		result, err = struct{}{}, s.join(call.Params)
	default:
		result, err = struct{}{}, s.prove(conn, call.Params)
	}
	var encoded json.RawMessage
	if err == nil {
		encoded, err = wire.Marshal(result)
	}
	if err == nil {
		call.Result(encoded)
		return
	}
	refusal, ok := err.(*jsonrpc.Error)
	if !ok {
		refusal = jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	s.refused(conn, refusal)
	call.Fail(refusal)
}

// refused logs a refusal, once for each address and reason.
func (s *Server) refused(conn *jsonrpc.Conn, refusal *jsonrpc.Error) {
	s.refusals.log(s.opts.Logger, conn.RemoteAddr(), refusal)
}

func (s *Server) hello(ses *session, params json.RawMessage) (*peer.HelloAnswer, error) {
	h := new(peer.Hello)
	if err := json.Unmarshal(params, h); err != nil {
		return nil, err
	}
	if h.Protocol != peer.Protocol {
		return nil, jsonrpc.ErrInvalidParams.Because("this server speaks protocol " + strconv.Itoa(peer.Protocol))
	}
	s.drop(ses)
	*ses = session{proved: ses.proved}
	a := &peer.HelloAnswer{Protocol: peer.Protocol, Instance: s.instance}
	identity := s.identity.Load()
	if identity == nil {
		return a, nil
	}
	a.ClusterID, a.NodeID = identity.ClusterID, identity.NodeID
	if h.ClusterID == "" {
		return a, nil
	}
	if h.ClusterID != identity.ClusterID {
		return nil, ErrNotMember.Because("this server belongs to another cluster")
	}
	if h.To.ID != identity.NodeID || h.To.Instance != s.instance {
		return nil, ErrNotMember.Because("this is another server than the one meant")
	}
	if checkAddr(h.From.Addr) != nil || !wire.ValidToken(h.From.Instance) || !wire.ValidToken(h.Nonce) {
		return nil, jsonrpc.ErrInvalidParams.Because("a malformed address, instance or nonce")
	}
	a.Nonce = peer.NewNonce()
	a.MAC = peer.MAC(identity.Key, peer.Accepting, h, a.Nonce)
	ses.hello, ses.nonce = h, a.Nonce
	return a, nil
}

// join takes a place in a cluster, on the loop, and waits until it is durable.
func (s *Server) join(params json.RawMessage) error {
	j := new(peer.Join)
	if err := json.Unmarshal(params, j); err != nil {
		return err
	}
	if !wire.ValidToken(j.Identity.ClusterID) || !wire.ValidToken(j.Identity.Key) {
		return jsonrpc.ErrInvalidParams.Because("a malformed identity")
	}
	return ask(s, func() error {
		if err := s.loop.node.Join(j.Identity, j.Instance); err != nil {
			return ErrNotMember.Because(err.Error())
		}
		return nil
	})
}

// prove ends the handshake: the dialler has shown that it knows the key, and the core says whether it is a member.
func (s *Server) prove(conn *jsonrpc.Conn, params json.RawMessage) error {
	p, ses, identity := new(peer.Prove), sessionOf(conn), s.identity.Load()
	if err := json.Unmarshal(params, p); err != nil {
		return err
	}
	h := ses.hello
	ses.hello = nil // one attempt for each nonce
	if h == nil || identity == nil || !peer.ValidMAC(p.MAC, peer.MAC(identity.Key, peer.Dialling, h, ses.nonce)) {
		return ErrNotMember.Because("the proof does not hold")
	}
	err := ask(s, func() error {
		from := node.Peer{ID: h.From.ID, Addr: h.From.Addr, Instance: h.From.Instance}
		switch s.loop.node.Hello(h.ClusterID, from, node.Peer{ID: h.To.ID, Instance: h.To.Instance}) {
		case node.Welcome:
			s.loop.heard[conn] = h.From.ID
			return nil
		case node.Removed:
			return peer.ErrRemoved
		default:
			return ErrNotMember.Because("no such member is known here")
		}
	})
	if err != nil {
		return err
	}
	ses.from, ses.proved = h.From.ID, true
	conn.SetMaxLine(maxPeerLine)
	conn.SetMaxDepth(maxPeerDepth)
	conn.Exempt()
	return nil
}

// connClosed is called when a connection is gone, after the last call of handle for it.
func (s *Server) connClosed(conn *jsonrpc.Conn) {
	s.drop(sessionOf(conn))
	if sessionOf(conn).proved {
		s.inbox.post(func() { delete(s.loop.heard, conn) })
	}
}

// ask runs f on the loop and waits for it. Readers may wait: the loop never waits for them.
func ask(s *Server, f func() error) error {
	done := make(chan error, 1)
	if !s.inbox.post(func() { done <- f() }) {
		return ErrRejected.Because("the server has stopped")
	}
	select {
	case err := <-done:
		return err
	case <-s.loopDone:
		return ErrRejected.Because("the server has stopped")
	}
}
