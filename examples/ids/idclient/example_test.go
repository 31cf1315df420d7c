package idclient_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"time"

	"github.com/raftpico/go/examples/ids/idclient"
	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/raftpico"
)

// startServer starts a service of one server, and returns its address.
func startServer() (addr string, stop func()) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := raftpico.Start(ids.New(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.CreateCluster(context.Background(), raftpico.Timeouts{}); err != nil {
		log.Fatal(err)
	}
	return s.Addr(), func() { _ = s.Close() }
}

func Example() {
	addr, stop := startServer()
	defer stop()

	orders, err := idclient.New("orders", 1000, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	for id := range orders.Stream() {
		fmt.Println(id)
		if id == 3 {
			break
		}
	}
	// Output:
	// 1
	// 2
	// 3
}

func ExampleClient_Next() {
	addr, stop := startServer()
	defer stop()

	ulids, err := idclient.NewULIDs(1000, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer ulids.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := ulids.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	b, err := ulids.Next(ctx)
	fmt.Println(len(a.String()), a.String() < b.String(), err)
	// Output: 26 true <nil>
}
