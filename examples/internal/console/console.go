// Package console is the console of the examples' servers.
package console

import (
	"net/http"

	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/metrics"
	"github.com/raftpico/go/raftpico/web"
	"github.com/raftpico/go/serve"
)

// New is for serve.Service.Console.
func New(s *raftpico.Server, c serve.ConsoleConfig) http.Handler {
	return web.Handler(s, web.Options{Manage: c.Manage, Page: c.Page, Metrics: metrics.Handler(s)})
}
