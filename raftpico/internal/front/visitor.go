package front

import (
	"context"
	"net"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
)

// Visitor is a client whose connection has come another way than over a listener. It is never another server.
type Visitor struct {
	// Authorize is asked for each request, by its method: an error refuses it. Nil refuses nothing.
	Authorize func(method string) error
}

// Converse serves a visitor's connection, as jsonrpc.Server.Converse tells.
func (f *Front) Converse(ctx context.Context, nc net.Conn, v Visitor) (whole bool) {
	return f.rpc.Converse(ctx, nc, &session{visitor: &v})
}

// refuse is why a request is refused, or nil. A nil Visitor is any other client.
func (v *Visitor) refuse(method string) *jsonrpc.Error {
	if v == nil || v.Authorize == nil {
		return nil
	}
	if err := v.Authorize(method); err != nil {
		return api.ErrNotPermitted.Because(cut(err))
	}
	return nil
}

// Stats is how the connections are.
func (f *Front) Stats() jsonrpc.Stats { return f.rpc.Stats() }
