// Locks is a replicated lock service: clients wait in turn, and locks end by time and with sessions. docs/MACHINES.md
// explains it step by step.
//
//	locks ADDR FILE    one server; it waits for CreateCluster, or for AddServer elsewhere
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/raftpico/go/raftpico"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: locks ADDR FILE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if err := raftpico.Run(ctx, newLocks(), raftpico.Options{Addr: os.Args[1], File: os.Args[2]}); err != nil {
		log.Fatal(err)
	}
}
