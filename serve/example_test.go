package serve_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/serve"
)

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func newCounter() machine.Machine { return machine.JSON(&counter{}) }

// A program with a command line, a cluster for a first try, and GET /health and /ready.
func Example() {
	service := serve.Service{
		Name:      "counter",
		New:       newCounter,
		Addrs:     []string{"127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"},
		HTTP:      serve.Health,
		HTTPAddrs: []string{"127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"},
	}
	// A main calls service.Main().
	if err := service.Run(context.Background(), []string{"-help"}, os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// usage: counter                                        a cluster of 3 in this process
	//        counter ADDR [FILE]                            one server
	//        counter -listen ADDR [-advertise ADDR] [FILE]  one server that others reach at another address
	//
	//   -admin OU         with -cert: only clients of the organizational unit OU may change the cluster
	//   -advertise ADDR   clients and servers reach it at ADDR; without it, where it listens
	//   -bootstrap N      the N servers of -join, the same for all, create a cluster if none belongs to one
	//   -ca FILE          with -cert: the authorities of servers and clients are in FILE
	//   -cert FILE        speaks TLS: its certificate is in FILE, read again when it changes
	//   -http ADDR        serves HTTP at ADDR
	//   -join A,B,C       if it belongs to no cluster, asks the servers A,B,C to add it
	//   -key FILE         with -cert: the private key is in FILE
	//   -lease-reads      with -bootstrap, that cluster's leaders answer queries under a lease
	//   -listen ADDR      listens at ADDR, such as 0.0.0.0:4000
	//   -remove-dead TIME as the leader, removes members that were silent for TIME, such as 72h, where the others can spare them
	//   FILE              its log; a server without one forgets all when it stops, and can't come back
}

// Servers of a program of its own find each other, in whatever order they start.
func ExampleHealth() {
	s, err := raftpico.Start(newCounter(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for _, path := range []string{"/health", "/ready"} {
		w := httptest.NewRecorder()
		serve.Health(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 {"healthy":true}
	// 503 {"leader":"","ready":false,"reason":"the server belongs to no cluster","role":"Follower"}
}
