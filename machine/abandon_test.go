package machine_test

import (
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// line is a machine whose clients wait in line.
type line struct{ Waiting []machine.Ticket }

func (l *line) Apply(ctx *machine.Context, _ any) (any, error) {
	l.Waiting = append(l.Waiting, ctx.Defer())
	return nil, nil
}

func (l *line) OnAbandon(_ *machine.Context, t machine.Ticket) { l.Waiting = remove(l.Waiting, t) }

func remove(all []machine.Ticket, t machine.Ticket) (rest []machine.Ticket) {
	for _, one := range all {
		if one != t {
			rest = append(rest, one)
		}
	}
	return rest
}

// hashedLine is one that keeps a hash.
type hashedLine struct{ line }

func (*hashedLine) Hash() uint64 { return 7 }

// bare is a Machine without JSON's help.
type bare struct{}

func (bare) Apply(*machine.Context, json.RawMessage) (any, error) { return nil, nil }
func (bare) Snapshot() (json.RawMessage, error)                   { return json.RawMessage("1"), nil }
func (bare) Restore(json.RawMessage) error                        { return nil }

type bareAbandoner struct{ bare }

func (bareAbandoner) OnAbandon(*machine.Context, machine.Ticket) {}

// A machine is an Abandoner if its state is: whoever is none must cost nothing.
func TestAsAbandoner(t *testing.T) {
	for _, m := range []machine.Machine{bare{}, machine.JSON(&counter{})} {
		a, ok := machine.AsAbandoner(m)
		require.False(t, ok, "%T", m)
		require.Nil(t, a)
	}
	for _, m := range []machine.Machine{bareAbandoner{}, machine.JSON(&line{}), machine.JSON(&hashedLine{})} {
		_, ok := machine.AsAbandoner(m)
		require.True(t, ok, "%T", m)
	}
	m := machine.JSON(&line{})
	ctx := machine.NewContext(machine.Command, 3, time.Now())
	_, err := m.Apply(ctx, json.RawMessage("1"))
	require.NoError(t, err)
	require.True(t, ctx.Effects().Deferred)
	a, _ := machine.AsAbandoner(m)
	a.OnAbandon(ctx, machine.Ticket{Index: 4})
	snapshot, err := m.Snapshot()
	require.NoError(t, err)
	require.JSONEq(t, `{"Waiting":[{"index":3,"offset":0}]}`, string(snapshot))
	a.OnAbandon(ctx, machine.Ticket{Index: 3})
	snapshot, err = m.Snapshot()
	require.NoError(t, err)
	require.JSONEq(t, `{"Waiting":null}`, string(snapshot))
}
