// Kvs is a replicated key-value store, the main example.
//
//	kvs                            three servers in this process, a cluster on 127.0.0.1:4000–4002, files in ./kvs-data
//	kvs LISTEN_ADDR STORAGE_FILE   one server; it waits for CreateCluster, or for AddServer elsewhere
//	kvs LISTEN_ADDR                one server without a file: what it knows is gone when it stops
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = demo(ctx, "kvs-data")
	case len(args) <= 2 && !strings.HasPrefix(args[0], "-"):
		err = serve(ctx, args)
	default:
		err = fmt.Errorf("usage: kvs [LISTEN_ADDR [STORAGE_FILE]]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kvs:", err)
		os.Exit(1)
	}
}

// serve runs one server until ctx ends.
func serve(ctx context.Context, args []string) error {
	opts := raftpico.Options{Addr: args[0], InMemory: len(args) == 1}
	if strings.HasPrefix(opts.Addr, ":") {
		opts.Addr = "127.0.0.1" + opts.Addr
	}
	if opts.InMemory {
		slog.Warn("no storage file: this server is volatile; what it knows is gone when it stops, and it can't come back")
	} else {
		opts.File = args[1]
	}
	return raftpico.Run(ctx, machine.JSON(&kvs{}), opts)
}
