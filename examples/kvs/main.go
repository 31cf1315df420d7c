// Kvs is a replicated key-value store, the main example.
//
//	kvs                            three servers in this process, a cluster on 127.0.0.1:4000–4002, files in ./kvs-data
//	kvs ADDR FILE                  one server; it waits for CreateCluster, or for AddServer elsewhere
//	kvs ADDR                       one server without a file: what it knows is gone when it stops
//	kvs -listen ADDR -advertise ADDR [FILE]
//	                               one server that is reached at another address than it listens on
//	kvs -join A,B,C [-bootstrap] ADDR FILE
//	                               one server that finds its cluster by itself
package main

import (
	"fmt"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/serve"
)

var service = serve.Service{
	Name:  "kvs",
	New:   func() machine.Machine { return machine.JSON(&kvs{}) },
	Addrs: []string{"127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"},
	Next:  whatNext,
}

func main() { service.Main() }

// whatNext is what the demo suggests to type.
func whatNext(d serve.Demo) string {
	return fmt.Sprintf(`
go run ./cmd/raftpico req Apply --params '{"kind":"Command","input":{"Put":["foo",123]}}' | go run ./cmd/raftpico call :4000
go run ./cmd/raftpico req Apply --params '{"kind":"Query","input":{"Get":"foo"}}' | go run ./cmd/raftpico call :4001
go run ./cmd/raftpico status :4000 :4001 :4002
go run ./cmd/raftpico log %s
`[1:], d.Files[0])
}
