package memnet_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

// Three servers lose their leader to a cable that is cut, go on without it, and have it back. In a test, t is the
// *testing.T.
func ExampleStart() {
	t := new(run)
	defer t.end()
	ctx := context.Background()

	c := memnet.Start(t, 3, func() machine.Machine { return machine.JSON(&counter{}) })
	old := c.Leader()
	sum, err := old.Apply(ctx, machine.Command, 5)
	fmt.Println(string(sum), err)

	c.Isolate(old.Addr())
	fmt.Println(c.Leader() != old)
	sum, err = c.Leader().Apply(ctx, machine.Command, 1)
	fmt.Println(string(sum), err)

	c.Heal()
	sum, err = old.Apply(ctx, machine.Query, 0)
	fmt.Println(string(sum), err)
	// Output:
	// 5 <nil>
	// true
	// 6 <nil>
	// 6 <nil>
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

// A server with options of one's own, and a client that calls it by JSON-RPC.
func ExampleNetwork() {
	var network memnet.Network
	listener, err := network.Listen("a:1")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{
		Addr: "a:1", InMemory: true, Listener: listener, Dial: network.Dialer("a:1"),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	ctx := context.Background()
	conn, err := network.Dialer("client:1")(ctx, "tcp", "a:1")
	if err != nil {
		fmt.Println(err)
		return
	}
	client := jsonrpc.NewClient(conn)
	defer client.Close()
	out, err := client.CallRaw(ctx, "CreateCluster", nil)
	fmt.Println(string(out), err)
	// Output:
	// {"members":["a:1"]} <nil>
}
