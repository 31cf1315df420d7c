// Kvs is a replicated key-value store, the main example.
//
//	kvs                            three servers in this process, a cluster on 127.0.0.1:4000–4002, files in ./kvs-data
//	kvs ADDR FILE                  one server; it waits for CreateCluster, or for AddServer elsewhere
//	kvs ADDR                       one server without a file: what it knows is gone when it stops
//	kvs -listen ADDR -advertise ADDR [FILE]
//	                               one server that is reached at another address than it listens on
//	kvs -join A,B,C [-bootstrap 3] ADDR FILE
//	                               one server that finds its cluster by itself
//	kvs -cluster FILE -node NAME [FILE]
//	                               one server of those that a cluster file names, which find each other
//
// With -cert, -key and -ca a server speaks TLS. With -http ADDR a server also speaks HTTP, and has a page for browsers. The demo's are on 127.0.0.1:8000–8002.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"

	"github.com/raftpico/go/examples/internal/console"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/serve"
)

func main() { newService().Main() }

func newService() *serve.Service {
	s := &serve.Service{
		Name:      "kvs",
		New:       func() machine.Machine { return machine.JSON(&kvs{}) },
		Addrs:     []string{"127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"},
		HTTPAddrs: []string{"127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"},
		Next:      whatNext,
	}
	known := places{}
	for i, addr := range s.Addrs {
		known[addr] = place{http: s.HTTPAddrs[i]}
	}
	var cluster clusterFlags
	s.Flags = cluster.register
	s.Setup = func(c *serve.Config) error {
		file, err := cluster.configure(c)
		if file != nil {
			known = file.places()
		}
		return err
	}
	s.HTTP = func(server *raftpico.Server) http.Handler { return newFront(server, known) }
	s.Console = func(server *raftpico.Server, c serve.ConsoleConfig) http.Handler {
		if c.Page == nil {
			c.Page = known.console
		}
		return console.New(server, c)
	}
	return s
}

// clusterFlags are the flags that say which server of a cluster file this is.
type clusterFlags struct {
	flags      *flag.FlagSet
	file, node string
}

func (c *clusterFlags) register(f *flag.FlagSet) {
	c.flags = f
	f.StringVar(&c.file, "cluster", "", "it is one of the servers that the cluster `FILE` names")
	f.StringVar(&c.node, "node", "", "with -cluster: the `NAME` of this one")
}

// configure makes a server's configuration of a cluster file. It returns nil if none was given.
func (c *clusterFlags) configure(to *serve.Config) (*clusterFile, error) {
	switch {
	case c.file == "" && c.node != "":
		return nil, errors.New("-node needs -cluster")
	case c.file == "":
		return nil, nil
	case to.Listen != "" || to.Advertise != "" || len(to.Join) > 0 || to.Bootstrap != 0:
		return nil, errors.New("-cluster says where the servers are: -listen, -advertise, -join and -bootstrap don't go with it")
	}
	file, err := readCluster(c.file)
	if err != nil {
		return nil, err
	}
	name, err := file.node(c.node)
	if err != nil {
		return nil, err
	}
	to.Listen, to.Join, to.Bootstrap = file.Servers[name], file.addrs(), len(file.Servers)
	if to.HTTP == "" {
		to.HTTP = file.HTTPServers[name]
	}
	if c.flags.NArg() == 0 {
		to.File = "kvs-data/" + name + ".jsonl"
	}
	return file, nil
}

// whatNext is what the demo suggests to type.
func whatNext(d serve.Demo) string {
	return fmt.Sprintf(`
go run ./cmd/raftpico req Apply --params '{"kind":"Command","input":{"Put":["foo",123]}}' | go run ./cmd/raftpico call :4000
go run ./cmd/raftpico req Apply --params '{"kind":"Query","input":{"Get":"foo"}}' | go run ./cmd/raftpico call :4001
go run ./cmd/raftpico status :4000 :4001 :4002
go run ./cmd/raftpico log %s
`[1:], d.Files[0])
}
