package front

import (
	"strconv"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/addr"
	"github.com/raftpico/go/raftpico/internal/join"
	"github.com/raftpico/go/raftpico/internal/loop"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// maxHandshake bounds the params of a step of the handshake, in bytes. They come from anybody, and what a Hello says is
// kept with the connection, past the budget of unread bytes.
const maxHandshake = 4 << 10

// maxBootstrap bounds those of a Bootstrap, of which nothing is kept: it names all servers.
const maxBootstrap = 16 << 10

var (
	errMalformed = jsonrpc.ErrInvalidParams.Because("malformed") // more would speak of Go's types
	errProtocol  = jsonrpc.ErrInvalidParams.Because("this server speaks protocol " + strconv.Itoa(peer.Protocol))
)

// handshake answers a step of the handshake (see package peer).
func (f *Front) handshake(conn *jsonrpc.Conn, call *jsonrpc.Call) {
	var result any
	var err error
	switch {
	case call.Method == peer.MethodBootstrap:
		result, err = f.bootstrap(call.Params)
	case len(call.Params) > maxHandshake:
		err = jsonrpc.ErrInvalidParams.Because("a handshake this long is none")
	case call.Method == peer.MethodHello:
		result, err = f.hello(sessionOf(conn), call.Params)
	case call.Method == peer.MethodJoin:
		result, err = struct{}{}, f.join(call.Params)
	default:
		result, err = struct{}{}, f.prove(conn, call.Params)
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
	f.refusals.log(f.log, conn.RemoteAddr(), call.Method, refusal)
	call.Fail(refusal)
}

func (f *Front) hello(ses *session, params json.RawMessage) (*peer.HelloAnswer, error) {
	h := new(peer.Hello)
	if json.Unmarshal(params, h) != nil {
		return nil, errMalformed
	}
	if h.Protocol != peer.Protocol {
		return nil, errProtocol
	}
	ses.drop()
	*ses = session{peer: ses.peer, proved: ses.proved, backup: ses.backup}
	a := &peer.HelloAnswer{Protocol: peer.Protocol, Instance: f.loop.Instance(), Version: f.loop.MachineVersion(), Level: wire.Level}
	identity := f.loop.Identity()
	if identity == nil {
		return a, nil
	}
	a.ClusterID, a.NodeID = identity.ClusterID, identity.NodeID
	if h.ClusterID == "" {
		return a, nil
	}
	if h.ClusterID != identity.ClusterID {
		return nil, node.ErrNotMember.Because("this server belongs to another cluster")
	}
	if h.To.ID != identity.NodeID || h.To.Instance != f.loop.Instance() {
		return nil, node.ErrNotMember.Because("this is another server than the one meant")
	}
	if _, err := addr.Canonical(h.From.Addr); err != nil || !wire.ValidToken(h.From.Instance) || !wire.ValidToken(h.Nonce) {
		return nil, jsonrpc.ErrInvalidParams.Because("a malformed address, instance or nonce")
	}
	a.Nonce = peer.NewNonce()
	a.MAC = peer.MAC(identity.Key, peer.Accepting, h, a.Nonce)
	ses.hello, ses.nonce = h, a.Nonce
	return a, nil
}

// bootstrap answers a server that is to create a cluster with others, on the loop.
func (f *Front) bootstrap(params json.RawMessage) (*join.Answer, error) {
	q := new(peer.Question)
	switch {
	case len(params) > maxBootstrap:
		return nil, jsonrpc.ErrInvalidParams.Because("a list of servers this long is none")
	case json.Unmarshal(params, q) != nil:
		return nil, errMalformed
	case q.Protocol != peer.Protocol:
		return nil, errProtocol
	case !wire.ValidToken(q.Instance) || !wire.ValidToken(q.Cluster):
		return nil, jsonrpc.ErrInvalidParams.Because("a malformed instance or cluster")
	}
	for _, known := range append([]string{q.From}, q.Servers...) {
		if _, err := addr.Canonical(known); err != nil {
			return nil, jsonrpc.ErrInvalidParams.Because("a malformed address")
		}
	}
	return f.loop.Bootstrap(&q.Question)
}

// join takes a place in a cluster, on the loop, and waits until it is durable.
func (f *Front) join(params json.RawMessage) error {
	j := new(peer.Join)
	if json.Unmarshal(params, j) != nil {
		return errMalformed
	}
	if !wire.ValidToken(j.Identity.ClusterID) || !wire.ValidToken(j.Identity.Key) {
		return jsonrpc.ErrInvalidParams.Because("a malformed identity")
	}
	return f.loop.Join(j)
}

// prove ends the handshake: the dialler has shown that it knows the key, and the core says whether it is a member.
func (f *Front) prove(conn *jsonrpc.Conn, params json.RawMessage) error {
	p, ses, identity := new(peer.Prove), sessionOf(conn), f.loop.Identity()
	if json.Unmarshal(params, p) != nil {
		return errMalformed
	}
	h := ses.hello
	ses.hello = nil // one attempt for each nonce
	if h == nil || identity == nil || !peer.ValidMAC(p.MAC, peer.MAC(identity.Key, peer.Dialling, h, ses.nonce)) {
		return node.ErrNotMember.Because("the proof does not hold")
	}
	if err := f.loop.Hello(conn, h); err != nil {
		return err
	}
	ses.from, ses.proved = h.From.ID, true
	conn.ReadQuietly()
	conn.SetMaxLine(maxPeerLine)
	conn.SetMaxDepth(loop.MaxStateDepth)
	conn.Exempt()
	return nil
}
