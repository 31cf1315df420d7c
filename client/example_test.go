package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// startCounter starts a cluster of one server that counts, and returns its address.
func startCounter() (addr string, stop func()) { return startOne(machine.JSON(&counter{})) }

func startOne(m machine.Machine) (addr string, stop func()) {
	s, err := raftpico.Start(m, raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.CreateCluster(context.Background(), raftpico.Timeouts{}); err != nil {
		log.Fatal(err)
	}
	return s.Addr(), func() { _ = s.Close() }
}

func Example() {
	addr, stop := startCounter()
	defer stop()

	c := client.New(addr)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	if err := c.Apply(ctx, machine.Command, 5, nil); err != nil {
		log.Fatal(err)
	}
	sum, err := client.Call[int](ctx, c, machine.Query, 0)
	fmt.Println(sum, err)
	// Output: 5 <nil>
}

func ExampleClient_Apply() {
	addr, stop := startCounter()
	defer stop()
	c := client.New(addr)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	err := c.Apply(ctx, machine.Command, -1, nil)
	var own *client.Error
	switch {
	case errors.Is(err, client.ErrUnknown):
		fmt.Println("it may be applied:", err)
	case errors.As(err, &own) && own.Code >= 1000:
		fmt.Println("the machine says:", own.Message)
	case err != nil:
		fmt.Println("it is not applied:", err)
	}
	// Output: the machine says: no way back
}

// A machine that gives a lock back when its holder's session ends.
func ExampleSession() {
	addr, stop := startOne(machine.JSON(&lock{}))
	defer stop()
	c := client.New(addr)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	s, err := c.OpenSession(ctx, 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	holder, err := client.Call[uint64](ctx, s, machine.Command, "lock")
	fmt.Println(holder == s.ID(), err)
	err = s.Close(ctx) // or: this program is gone for 30 s
	fmt.Println(err)
	holder, err = client.Call[uint64](ctx, c, machine.Query, "who")
	fmt.Println(holder, err)
	// Output:
	// true <nil>
	// <nil>
	// 0 <nil>
}
