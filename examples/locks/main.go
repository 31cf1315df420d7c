// Locks is a lock server: locks, values with watches, counters and idempotency ids, in requests that are atomic. README.md tells
// what they do.
//
//	locks                          three servers in this process, a cluster on 127.0.0.1:4200–4202, with HTTP on 127.0.0.1:8200–8202,
//	                               files in ./locks-data
//	locks -http ADDR ADDR FILE     one server; it waits for CreateCluster, or for AddServer elsewhere
//	locks -join A,B,C -bootstrap 3 -http ADDR ADDR FILE
//	                               one server that finds its cluster by itself
package main

import (
	"net"
	"net/http"
	"time"

	"github.com/raftpico/go/examples/internal/console"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/serve"
)

var program = serve.Service{
	Name: "locks",
	New:  newService,
	Options: func(o *raftpico.Options) {
		o.Limits.MaxTimeout = maxWait*time.Second + margin
	},
	Addrs:        []string{"127.0.0.1:4200", "127.0.0.1:4201", "127.0.0.1:4202"},
	HTTP:         newHandler,
	HTTPListener: func(s *raftpico.Server, l net.Listener) net.Listener { return keep(l, newPost(s)) },
	Console:      console.New,
	HTTPAddrs:    []string{"127.0.0.1:8200", "127.0.0.1:8201", "127.0.0.1:8202"},
	Next:         whatNext,
}

func main() { program.Main() }

// newHandler serves the HTTP wire of a server, and its health.
func newHandler(s *raftpico.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", newWire(s))
	health := serve.Health(s)
	mux.Handle("/health", health)
	mux.Handle("/ready", health)
	return mux
}

// whatNext is what the demo suggests to type.
func whatNext(d serve.Demo) string {
	return `
curl -d '{"LockID":"ABC","LockDur":60,"LockWait":30}' 127.0.0.1:8200/db/my_env
curl -d '{"KVSet":[{"Key":"ABC","Value":"123"}],"Atomic":[{"Key":"n","Add":1}]}' 127.0.0.1:8201/db/my_env
curl -d '{"ID":"ABC","Version":0}' 127.0.0.1:8202/watch/my_env
curl -d '{"KVGet":["ABC"]}' 127.0.0.1:8202/db/my_env
go run ./cmd/raftpico status :4200 :4201 :4202
`[1:]
}
