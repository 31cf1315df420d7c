package machinetest_test

import (
	"errors"
	"testing"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

// accounts are balances by name.
type accounts struct{ Balances map[string]int }

type transfer struct {
	From, To string
	Amount   int
}

func (a *accounts) Apply(ctx *machine.Context, in transfer) (any, error) {
	switch {
	case ctx.Kind != machine.Command:
		return a.Balances[in.From], nil
	case in.Amount < 0 || in.Amount > 1000:
		return nil, errors.New("nobody moves that much")
	}
	if a.Balances == nil {
		a.Balances = map[string]int{}
	}
	a.Balances[in.From] -= in.Amount
	a.Balances[in.To] += in.Amount
	return a.Balances[in.From], nil
}

var config = machinetest.Config{
	New: func() machine.Machine { return machine.JSON(&accounts{}) },
	Inputs: []any{
		transfer{"ann", "bob", 10},
		transfer{"bob", "ann", 3},
		transfer{From: "ann"},
	},
}

func TestAccounts(t *testing.T) { machinetest.Run(t, config) }

func FuzzAccounts(f *testing.F) { machinetest.Fuzz(f, config) }

func ExampleRun() {
	config := machinetest.Config{
		New: func() machine.Machine { return machine.JSON(&accounts{}) },
		Inputs: []any{
			transfer{"ann", "bob", 10},
			transfer{"bob", "ann", 3},
			transfer{From: "ann"},
		},
	}
	_ = func(t *testing.T) { machinetest.Run(t, config) }  // TestAccounts
	_ = func(f *testing.F) { machinetest.Fuzz(f, config) } // FuzzAccounts
}
