package table_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
	"github.com/raftpico/go/machine/table"
)

// accounts is a machine with any number of accounts.
type accounts struct {
	Balances table.Table[int64] // by account
	Payments int
}

// payment goes from one account to another; from "" it makes money.
type payment struct {
	From, To string
	Amount   int64
}

func (m *accounts) Apply(ctx *machine.Context, p payment) (any, error) {
	if ctx.Kind != machine.Command {
		balance, _ := m.Balances.Get(p.To)
		return balance, nil
	}
	from, _ := m.Balances.Get(p.From)
	if p.Amount <= 0 || p.From == p.To || p.From != "" && from < p.Amount {
		return nil, errors.New("no such payment")
	}
	if p.From != "" {
		m.Balances.Set(p.From, from-p.Amount)
	}
	to, _ := m.Balances.Get(p.To)
	m.Balances.Set(p.To, to+p.Amount)
	m.Payments++
	return nil, nil
}

// Capture and Load implement machine.Snapshotter.
func (m *accounts) Capture() (write func(io.Writer) error, err error) { return table.Capture(m) }

func (m *accounts) Load(r io.Reader) (install func(), err error) {
	fresh, err := table.Read[accounts](r)
	return func() { *m = *fresh }, err
}

// A snapshot shows the state of the moment when it was captured, whatever comes while it is written.
func Example() {
	m := machine.JSON(&accounts{})
	apply := func(input string) {
		_, err := m.Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(input))
		if err != nil {
			fmt.Println(err)
		}
	}
	apply(`{"To":"ann","Amount":100}`)
	apply(`{"From":"ann","To":"bob","Amount":30}`)
	write, err := m.(machine.Snapshotter).Capture()
	if err != nil {
		fmt.Println(err)
		return
	}
	apply(`{"From":"ann","To":"bob","Amount":70}`)
	fmt.Println(write(os.Stdout))
	// Output:
	// {"Balances":{"ann":70,"bob":30},"Payments":2}<nil>
}

func TestMachine(t *testing.T) {
	machinetest.Run(t, machinetest.Config{
		New:    func() machine.Machine { return machine.JSON(&accounts{}) },
		Inputs: []any{payment{To: "ann", Amount: 5}, payment{"ann", "bob", 3}, payment{"bob", "", 1}},
	})
}
