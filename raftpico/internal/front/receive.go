package front

import (
	"encoding/base64"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/peer"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// receive carries out a step of a snapshot's transfer (package peer, bulk.go), on the reader of its connection.
func (f *Front) receive(ses *session, call *jsonrpc.Call) {
	var err error
	switch {
	case ses.from == 0:
		err = node.ErrNotMember.Because("this connection has not made itself known as a member")
	case call.Method == peer.MethodSnapshot:
		ses.drop()
		err = f.beginReception(ses, call.Params)
	case ses.incoming == nil:
		err = jsonrpc.ErrInvalidParams.Because("no snapshot is on its way")
	case call.Method == peer.MethodChunk:
		err = ses.takeChunk(call.Params)
	default:
		err = ses.install(call.Params)
	}
	if err == nil {
		call.Result(json.RawMessage("{}"))
		return
	}
	ses.drop()
	refusal, ok := err.(*jsonrpc.Error)
	if !ok {
		refusal = jsonrpc.ErrInternal.Because(cut(err))
	}
	call.Fail(refusal)
}

func (f *Front) beginReception(ses *session, params json.RawMessage) error {
	var p peer.Snapshot
	if json.Unmarshal(params, &p) != nil {
		return errMalformed
	}
	m, err := wire.DecodeMessage(p.Message)
	if err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	ses.incoming, err = f.loop.Receive(ses.from, m, p.Bytes)
	return err
}

func (ses *session) takeChunk(params json.RawMessage) error {
	var text []byte
	err := jsonrpc.Members(params, func(name, value []byte) error {
		if string(name) == "data" && len(value) >= 2 {
			text = value[1 : len(value)-1]
		}
		return nil
	})
	if err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	if err != nil {
		return jsonrpc.ErrInvalidParams.Because(cut(err))
	}
	_, err = ses.incoming.Write(data[:n])
	return err
}

func (ses *session) install(params json.RawMessage) error {
	var p peer.Install
	if json.Unmarshal(params, &p) != nil {
		return errMalformed
	}
	err := ses.incoming.Install(p.CRC)
	if err == nil {
		ses.incoming = nil
	}
	return err
}

// drop gives up what the connection was sending.
func (ses *session) drop() {
	if ses.incoming != nil {
		ses.incoming.Drop()
		ses.incoming = nil
	}
}
