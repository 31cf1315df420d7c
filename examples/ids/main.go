// Ids is a replicated service that gives out ids: numbers of named sequences, and ULIDs. None is given out twice, and none is
// smaller than one that somebody had before. Package idclient is its client; the README tells what it answers.
//
//	ids                            three servers in this process, a cluster on 127.0.0.1:4100–4102, files in ./ids-data
//	ids ADDR FILE                  one server; it waits for CreateCluster, or for AddServer elsewhere
//	ids -h                         tells the rest
package main

import (
	"fmt"

	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/examples/internal/console"
	"github.com/raftpico/go/serve"
)

var service = serve.Service{
	Name:      "ids",
	New:       ids.New,
	Addrs:     []string{"127.0.0.1:4100", "127.0.0.1:4101", "127.0.0.1:4102"},
	HTTP:      serve.Health,
	Console:   console.New,
	HTTPAddrs: []string{"127.0.0.1:8100", "127.0.0.1:8101", "127.0.0.1:8102"},
	Next:      whatNext,
}

func main() { service.Main() }

// whatNext is what the demo suggests to type.
func whatNext(d serve.Demo) string {
	return fmt.Sprintf(`
go run ./cmd/raftpico req Apply --params '{"kind":"Command","input":{"NextID":["orders",10]}}' | go run ./cmd/raftpico call :4100
go run ./cmd/raftpico req Apply --params '{"kind":"Query","input":{"CurID":"orders"}}' | go run ./cmd/raftpico call :4101
go run ./cmd/raftpico req Apply --params '{"kind":"Command","input":{"Ulids":3}}' | go run ./cmd/raftpico call :4102
go run ./cmd/raftpico log %s
curl http://%s/ready
`[1:], d.Files[0], d.HTTPAddrs[0])
}
