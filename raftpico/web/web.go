// Package web serves HTTP for a server: requests as on its own port, its health, its metrics, and a console, which is a page for
// browsers. A program that does not import it does not contain it.
//
//	console := web.Handler(s, web.Options{Metrics: metrics.Handler(s)})
//	mux.Handle("/raftpico/", http.StripPrefix("/raftpico", console))
//
//	POST /rpc      a JSON-RPC request, or a batch of them: see below
//	GET  /health   200 until the server has ended, else 503, as package serve tells
//	GET  /ready    200 while the server knows a leader and has caught up, else 503
//	GET  /metrics  what Options.Metrics serves
//	GET  /state    the server as JSON, for the console: [State]
//	GET  /         the console
//
// # Requests
//
// The body of a POST is one JSON value: a request, a notification or a batch, as on the server's own port, but that it may have
// line breaks. The answer is 200 with what the server answers there, errors too; or 204 if there is nothing to answer. Each
// POST is a connection for the server, with all its limits. If it ends before its answer, as a connection may, that is a 503
// with error 107: what was asked for may be carried out. A 503 with error 110 says that it certainly was not. So do 400 and 408,
// with error -32700: the body has not come whole, or not in time. A client that goes gives its requests up.
//
// Only what the methods Apply, OpenSession, KeepSession, CloseSession and GetServerState do can be asked for, unless
// Options.Manage is set.
//
// # Browsers
//
// A page of another site can't ask for anything: a POST must say that it is application/json, which browsers send to no other site
// without asking first; and what a browser sends for another site is refused. Over the loopback the server must be called
// by its address, or localhost, so that nobody's name leads there. Nobody is asked for a password: see docs/OPERATIONS.md.
package web

import (
	"net/http"

	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/serve"
)

// Options say what a Handler serves. Zero values are useful.
type Options struct {
	// Manage lets those who come over HTTP change the cluster: by the console, which has buttons for it, and by POST /rpc.
	Manage bool

	// Metrics, if not nil, serves GET /metrics. That of package metrics is one.
	Metrics http.Handler

	// Page, if not nil, returns the URL of the console of the member at an address; empty: it is not known.
	Page func(addr string) string
}

// Handler serves HTTP for s, at paths from the root: see the package comment. It may be used after s has ended. It starts a
// goroutine that keeps the last events, and ends with s.
func Handler(s *raftpico.Server, o Options) http.Handler {
	c := &handler{server: s, opts: o}
	go c.events.follow(s)
	mux := http.NewServeMux()
	health := serve.Health(s)
	mux.Handle("GET /health", health)
	mux.Handle("GET /ready", health)
	mux.HandleFunc("POST /rpc", c.rpc)
	mux.HandleFunc("GET /state", c.state)
	mux.Handle("GET /{$}", Page(console))
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	return Guard(mux, nil)
}

// handler serves one server. Its methods may be called from any goroutine.
type handler struct {
	server *raftpico.Server
	opts   Options
	events events
}
