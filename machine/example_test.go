package machine_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/raftpico/go/machine"
)

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func ExampleJSON() {
	m := machine.JSON(&counter{})
	out, err := m.Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(`3`))
	fmt.Println(out, err)
	snapshot, err := m.Snapshot()
	fmt.Println(string(snapshot), err)
	// Output:
	// 3 <nil>
	// {"Value":3} <nil>
}

// A machine is tested without a server.
func ExampleNewContext() {
	c := &counter{Value: 40}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	fmt.Println(c.Apply(machine.NewContext(machine.Command, 7, at), 2))
	fmt.Println(c.Apply(machine.NewContext(machine.Query, 7, at), 2))
	// Output:
	// 42 <nil>
	// 42 <nil>
}

// A new build of the counter refuses negative numbers. It knows the old behaviour too, and shows it as long as the
// cluster has version 1, so that replicas of both builds stay alike.
func ExampleVersioned() {
	m := machine.JSON(&newCounter{})
	ctx := machine.NewContext(machine.Command, 7, time.Now())
	ctx.Version = 1
	fmt.Println(m.Apply(ctx, []byte(`-3`)))
	ctx.Version = 2
	fmt.Println(m.Apply(ctx, []byte(`-3`)))
	// Output:
	// -3 <nil>
	// <nil> a counter never falls
}

type newCounter struct{ Value int }

func (*newCounter) Version() int { return 2 }

func (c *newCounter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Version >= 2 && add < 0 {
		return nil, errors.New("a counter never falls")
	}
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func ExampleUnion() {
	for _, input := range []string{`"List"`, `{"Put":["k",1]}`} {
		var u machine.Union
		fmt.Println(u.UnmarshalJSON([]byte(input)))
		switch u.Tag {
		case "List":
			fmt.Println(u.Tag, u.Unit())
		case "Put":
			var key string
			var value int
			fmt.Println(u.Tag, u.Tuple(&key, &value), key, value)
		}
	}
	// Output:
	// <nil>
	// List <nil>
	// <nil>
	// Put <nil> k 1
}
