// Kvs is a replicated key-value store, the main example.
//
//	kvs                            three servers in this process, a cluster on 127.0.0.1:4000–4002, files in ./kvs-data
//	kvs ADDR FILE                  one server; it waits for CreateCluster, or for AddServer elsewhere
//	kvs ADDR                       one server without a file: what it knows is gone when it stops
//	kvs -listen ADDR -advertise ADDR [FILE]
//	                               one server that is reached at another address than it listens on
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)   // a second signal ends it at once
	signal.Ignore(syscall.SIGPIPE) // that whoever read our log has gone is no reason to end
	opts, err := options(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
		return
	case err != nil:
		err = fmt.Errorf("%w\n%s", err, usage)
	case opts == nil:
		err = demo(ctx, "kvs-data")
	default:
		err = raftpico.Run(ctx, machine.JSON(&kvs{}), *opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kvs:", err)
		os.Exit(1)
	}
}
