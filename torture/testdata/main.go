// This main takes the place of kvs's own when the tests build it: the same machine with limits so small that clients reach them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Kvs ADDR FILE. NB: The tests know some of the limits too, as constants.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // that whoever read our log has gone is no reason to end
	opts := raftpico.Options{Addr: os.Args[1], File: os.Args[2], Limits: raftpico.Limits{
		Deadline: 5 * time.Second, MaxLine: 4 << 20, MaxUncommitted: 8 << 20, MaxUnsent: 8 << 20, Budget: 32 << 20,
		CompactAfter: 16 << 20, MaxQueue: 16 << 20, MaxPending: 20_000, MaxUnderway: 2000,
	}}
	if err := raftpico.Run(ctx, machine.JSON(&kvs{}), opts); err != nil {
		fmt.Fprintln(os.Stderr, "kvs:", err)
		os.Exit(1)
	}
}
