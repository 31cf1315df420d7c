package main_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

// The first machine of docs/MACHINES.md.

type locks struct {
	Held map[string]string // who holds a lock, by its name
}

type request struct{ Name, By string }

func newLocks() machine.Machine { return machine.JSON(&locks{Held: map[string]string{}}) }

func (m *locks) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	switch in.Tag {
	case "Lock", "Unlock", "Holder":
	default:
		return nil, fmt.Errorf("unknown operation %.32q", in.Tag)
	}
	var r request
	if err := in.Decode(&r); err != nil {
		return nil, err
	}
	holder := m.Held[r.Name]
	switch {
	case in.Tag == "Holder":
		return holder, nil
	case ctx.Kind != machine.Command:
		return nil, fmt.Errorf("%s must be a Command", in.Tag)
	case r.By == "":
		return nil, errors.New("By must say who")
	case in.Tag == "Lock" && holder == "":
		m.Held[r.Name] = r.By
		return true, nil
	case in.Tag == "Unlock" && holder == r.By:
		delete(m.Held, r.Name)
		return true, nil
	}
	return nil, &machine.Error{Code: 1001, Message: "Held by another", Data: holder}
}

func Example() {
	m := newLocks()
	ctx := machine.NewContext(machine.Command, 2, time.Now())
	fmt.Println(m.Apply(ctx, []byte(`{"Lock":{"Name":"door","By":"ann"}}`)))
	fmt.Println(m.Apply(ctx, []byte(`{"Lock":{"Name":"door","By":"bob"}}`)))
	fmt.Println(m.Apply(ctx, []byte(`{"Look":1}`)))
	state, err := m.Snapshot()
	fmt.Println(string(state), err)
	// Output:
	// true <nil>
	// <nil> Held by another (code 1001)
	// <nil> unknown operation "Look"
	// {"Held":{"door":"ann"}} <nil>
}

var config = machinetest.Config{New: newLocks, Inputs: []any{
	map[string]request{"Lock": {"door", "ann"}},
	map[string]request{"Lock": {"door", "bob"}},
	map[string]request{"Unlock": {"door", "ann"}},
	map[string]request{"Holder": {Name: "door"}},
}}

func TestMachine(t *testing.T) { machinetest.Run(t, config) }

func FuzzMachine(f *testing.F) { machinetest.Fuzz(f, config) }
