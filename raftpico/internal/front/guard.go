package front

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// Guard says who may call what. The zero value lets everybody call everything.
type Guard struct {
	// Security, if not nil, makes connections secure, and shows whether somebody is a server: who is none may not speak as one.
	Security jsonrpc.Security

	// Authorize, if not nil, is asked for each request of a client. An error refuses it.
	Authorize func(p api.Peer, method string) error
}

// betweenServers tells whether servers call a method, and clients don't. A ping is everybody's.
func betweenServers(method string) bool {
	switch method {
	case peer.MethodHello, peer.MethodJoin, peer.MethodProve, peer.MethodMessage, peer.MethodSnapshot, peer.MethodChunk, peer.MethodInstall, peer.MethodBootstrap:
		return true
	}
	return false
}

var errPanicked = errors.New("whether this is permitted could not be found out")

var errNoServer = api.ErrNotPermitted.Because("the certificate of this connection is not a server's")

// refusal tells why a request is refused before anything of it is decoded but its method, nil if it is not. It is called on the
// connection's reader.
func (f *Front) refusal(conn *jsonrpc.Conn, method string) *jsonrpc.Error {
	switch {
	case f.guard.Security == nil && f.guard.Authorize == nil:
	case betweenServers(method):
		if f.guard.Security != nil && !peerOf(conn).Server {
			f.refusals.log(f.log, conn.RemoteAddr(), method, errNoServer)
			return errNoServer
		}
	case f.guard.Authorize != nil && method != peer.MethodPing:
		if err := f.ask(peerOf(conn), method); err != nil {
			return api.ErrNotPermitted.Because(strings.ToValidUTF8(cut(err), "\ufffd"))
		}
	}
	return nil
}

// ask asks the user's function, which may panic: that refuses.
func (f *Front) ask(p *api.Peer, method string) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			f.log.Error("Authorize has panicked: the request is refused", "method", fmt.Sprintf("%.100q", method), "cause", cause, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return f.guard.Authorize(*p, method)
}

// peerOf is who is at the other end, which does not change while the connection lasts. Owner: the connection's reader.
func peerOf(conn *jsonrpc.Conn) *api.Peer {
	ses := sessionOf(conn)
	if ses.peer == nil {
		ses.peer = &api.Peer{Addr: conn.RemoteAddr()}
		if known, ok := conn.NetConn().(jsonrpc.Identified); ok {
			ses.peer.Identity, ses.peer.Server = known.Identify()
		}
	}
	return ses.peer
}
