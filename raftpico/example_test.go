package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
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

	value, err := raftpico.Apply[int](ctx, servers[0], 5) // the other may still be catching up
	fmt.Println("command:", value, err)
	value, err = raftpico.Query[int](ctx, servers[0], 0)
	fmt.Println("query:", value, err)

	_, err = servers[0].AddServer(ctx, servers[1].Addr())
	fmt.Println("again:", errors.Is(err, raftpico.ErrServerExists))
	// Output:
	// 2 members, <nil>
	// command: 5 <nil>
	// query: 5 <nil>
	// again: true
}

// A server that comes up is shown to clients when it is ready.
func ExampleServer_Ready() {
	t := new(run)
	defer t.end()
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, s := range c.Servers {
		fmt.Println(s.Ready(ctx), s.Leader() != "")
	}
	// Output:
	// <nil> true
	// <nil> true
	// <nil> true
}

// What a program gets of its machine is of its own types: outputs, and the data of errors. The account and its error
// overdrawn are, in short
//
//	func (a *account) Apply(ctx *machine.Context, add int) (any, error) {
//		switch {
//		case a.Balance+add < 0:
//			return nil, &machine.Error{Code: 1001, Message: "account overdrawn", Data: overdrawn{a.Balance, -a.Balance - add}}
//		case ctx.Kind == machine.Command:
//			a.Balance += add
//		}
//		return a.Balance, nil
//	}
func ExampleApply() {
	t := new(run)
	defer t.end()
	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&account{}) })
	ctx := context.Background()

	balance, err := raftpico.Apply[int](ctx, c.Leader(), 5)
	fmt.Println(balance, err)

	_, err = raftpico.Apply[int](ctx, c.Leader(), -7)
	if own, ok := errors.AsType[*machine.Error](err); ok {
		what, _ := raftpico.ErrorData[overdrawn](err)
		fmt.Printf("%s: %d is missing\n", own.Message, what.Missing)
	}
	// Output:
	// 5 <nil>
	// account overdrawn: 2 is missing
}

// run stands for a test, which an example has not.
type run struct{ cleanups []func() }

func (r *run) Helper()                   {}
func (r *run) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (r *run) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *run) Output() io.Writer         { return io.Discard }
func (r *run) end() {
	for _, f := range r.cleanups {
		f()
	}
}
