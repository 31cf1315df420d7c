package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// A cluster of two servers in one process. Real ones have files, and run in several.
func ExampleStart() {
	ctx := context.Background()
	var servers []*raftpico.Server
	for range 2 {
		s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{
			Addr:     "127.0.0.1:0",
			InMemory: true,
			Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer s.Close()
		servers = append(servers, s)
	}
	if _, err := servers[0].CreateCluster(ctx, raftpico.Timeouts{}); err != nil {
		fmt.Println(err)
	}
	members, err := servers[0].AddServer(ctx, servers[1].Addr())
	fmt.Println(len(members), "members,", err)

	value, err := servers[0].Apply(ctx, machine.Command, 5) // the other may still be catching up
	fmt.Println("command:", string(value), err)
	value, err = servers[0].Apply(ctx, machine.Query, 0)
	fmt.Println("query:", string(value), err)

	_, err = servers[0].AddServer(ctx, servers[1].Addr())
	fmt.Println("again:", errors.Is(err, raftpico.ErrServerExists))
	// Output:
	// 2 members, <nil>
	// command: 5 <nil>
	// query: 5 <nil>
	// again: true
}
