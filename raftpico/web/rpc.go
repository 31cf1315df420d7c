package web

import (
	"errors"
	"mime"
	"net/http"
	"os"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// rpc carries out the body of a request. For the server it is a connection, so it is read, bounded and answered as any other.
func (c *handler) rpc(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		w.Header().Set("Accept-Post", "application/json")
		http.Error(w, "the Content-Type must be application/json", http.StatusUnsupportedMediaType)
		return
	}
	x := newExchange(w, r)
	whole := c.server.ServeConn(r.Context(), x, raftpico.ConnOptions{Authorize: c.authorize})
	x.settle()
	switch {
	case x.begun && !whole:
		panic(http.ErrAbortHandler) // the client must not take a part of the answer for all of it
	case x.begun:
	case x.cut != nil:
		x.refuseCut()
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // whoever went must not be answered as if all were well: a proxy may still listen
	case whole && !x.some:
		refuse(w, http.StatusOK, jsonrpc.ErrParse.Because("the body is empty"))
	case whole:
		w.WriteHeader(http.StatusNoContent)
	case !x.touched:
		refuse(w, http.StatusServiceUnavailable, api.ErrBusy.Because("the server takes no more connections"))
	default:
		refuse(w, http.StatusServiceUnavailable, api.ErrUnknown.Because("the server has ended the connection"))
	}
}

// refuseCut answers a body that has not come whole. Nothing of it was carried out.
func (x *exchange) refuseCut() {
	switch {
	case x.broken:
		refuse(x.w, http.StatusServiceUnavailable, api.ErrBusy.Because("the server has ended the connection before the body had come"))
	case errors.Is(x.cut, os.ErrDeadlineExceeded):
		refuse(x.w, http.StatusRequestTimeout, jsonrpc.ErrParse.Because("the body has not come in time"))
	default:
		refuse(x.w, http.StatusBadRequest, jsonrpc.ErrParse.Because("the body has not come whole"))
	}
}

// open are the methods that change nothing but the user's state, by its own rules. What is added later is not among them.
var open = map[string]bool{"Apply": true, "OpenSession": true, "KeepSession": true, "CloseSession": true, "GetServerState": true}

// authorize refuses the methods that are for operators, unless those who come over HTTP may use them.
func (c *handler) authorize(method string) error {
	if c.opts.Manage || open[method] {
		return nil
	}
	return errManage
}

var errManage = errors.New("this server is not managed over HTTP")

// refuse answers for the server. There is no id: what is answered is the whole body.
func refuse(w http.ResponseWriter, status int, e *jsonrpc.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(jsonrpc.AppendError(nil, nil, e), '\n')) // a client that has gone reads nothing
}
