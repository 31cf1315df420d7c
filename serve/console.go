package serve

import (
	"net/http"
	"strings"

	"github.com/raftpico/go/raftpico"
)

// ConsolePath is where the Console of a Service is served.
const ConsolePath = "/raftpico/"

// ConsoleConfig is what the command line says of a console.
type ConsoleConfig struct {
	Manage bool                     // those who come over HTTP may change the cluster
	Page   func(addr string) string // the URL of the console of the server at an address, empty if it is not known; nil: none is known
}

// speaksHTTP tells whether there is anything to serve over HTTP.
func (s *Service) speaksHTTP() bool { return s.HTTP != nil || s.Console != nil }

// handler is what is served over HTTP beside a server. The console has its paths, and all others are passed on as they came.
func (s *Service) handler(server *raftpico.Server, c ConsoleConfig) http.Handler {
	if s.Console == nil {
		return s.HTTP(server)
	}
	rest := http.Handler(http.HandlerFunc(toConsole))
	if s.HTTP != nil {
		rest = s.HTTP(server)
	}
	console := http.StripPrefix(strings.TrimSuffix(ConsolePath, "/"), s.Console(server, c))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, ConsolePath):
			console.ServeHTTP(w, r)
		case r.URL.Path+"/" == ConsolePath:
			http.Redirect(w, r, ConsolePath, http.StatusPermanentRedirect)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

// toConsole is for a service that has nothing else.
func toConsole(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	http.Redirect(w, r, ConsolePath, http.StatusTemporaryRedirect)
}

// pages tells where the consoles of the demo's servers are.
func (d *Demo) pages() func(addr string) string {
	urls := map[string]string{}
	for i, at := range d.HTTPAddrs {
		urls[d.Addrs[i]] = "http://" + at + ConsolePath
	}
	return func(addr string) string { return urls[addr] }
}
