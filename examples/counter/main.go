// Counter is the smallest replicated service: a number that commands add to.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	opts := raftpico.Options{Addr: "127.0.0.1:4000", File: "counter.jsonl"}
	if err := raftpico.Run(ctx, machine.JSON(&counter{}), opts); err != nil {
		log.Fatal(err)
	}
}
