package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

var config = machinetest.Config{
	New: newLocks,
	Inputs: []any{
		map[string]request{"Lock": {Name: "door", For: 30_000}},
		map[string]request{"Lock": {Name: "gate", For: 5}},
		map[string]request{"Lock": {Name: "door", For: day}},
		map[string]request{"Lock": {Name: "gate", For: 5, Wait: 8}},
		map[string]request{"Lock": {Name: "door", For: 30_000, Wait: 5_000}},
		map[string]request{"Unlock": {Name: "door", Token: 1}},
		map[string]request{"Unlock": {Name: "gate", Token: 2}},
		map[string]request{"Extend": {Name: "door", Token: 1, For: 60_000}},
		map[string]request{"Holder": {Name: "door"}},
		map[string]request{"Watch": {Name: "door", Token: 1}},
		map[string]request{"Watch": {Name: "gate"}},
	},
}

func TestLocks(t *testing.T) { machinetest.Run(t, config) }

func FuzzLocks(f *testing.F) { machinetest.Fuzz(f, config) }

func TestTheNextInLineGetsTheLock(t *testing.T) {
	m := newLocks()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	lock := []byte(`{"Lock":{"Name":"door","For":30000,"Wait":60000}}`)

	ann := machine.NewContext(machine.Command, 2, start)
	_, err := m.Apply(ann, lock)
	require.NoError(t, err)
	require.Equal(t, []machine.Answer{{Ticket: machine.Ticket{Index: 2}, Output: uint64(1)}}, ann.Effects().Answers)

	bob := machine.NewContext(machine.Command, 3, start.Add(time.Second))
	_, err = m.Apply(bob, lock)
	require.NoError(t, err)
	require.True(t, bob.Effects().Deferred)
	require.Empty(t, bob.Effects().Answers)

	due := m.(machine.Timer).NextTimer()
	require.Equal(t, start.Add(30*time.Second), due)
	timer := machine.NewContext(machine.Command, 4, due)
	timer.Upkeep = true
	m.(machine.Timer).OnTimer(timer)
	require.Equal(t, []machine.Answer{{Ticket: machine.Ticket{Index: 3}, Output: uint64(2)}}, timer.Effects().Answers)
}

// TestNobodyStaysInLineForLongerThanItSays: so no lock goes to a client that has given up.
func TestNobodyStaysInLineForLongerThanItSays(t *testing.T) {
	m := newLocks()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for i, lock := range []string{
		`{"Lock":{"Name":"door","For":30000}}`,
		`{"Lock":{"Name":"door","For":30000,"Wait":30000}}`, // until the lock is free, and no longer
		`{"Lock":{"Name":"door","For":30000,"Wait":5000}}`,
		`{"Lock":{"Name":"door","For":30000,"Wait":60000}}`,
	} {
		_, err := m.Apply(machine.NewContext(machine.Command, uint64(i+2), start), []byte(lock))
		require.NoError(t, err)
	}
	for i, tt := range []struct {
		due     time.Duration
		answers []machine.Answer
	}{
		{5 * time.Second, []machine.Answer{{Ticket: machine.Ticket{Index: 4}, Err: errTaken}}},
		{30 * time.Second, []machine.Answer{
			{Ticket: machine.Ticket{Index: 3}, Err: errTaken},
			{Ticket: machine.Ticket{Index: 5}, Output: uint64(2)},
		}},
	} {
		due := m.(machine.Timer).NextTimer()
		require.Equal(t, start.Add(tt.due), due)
		timer := machine.NewContext(machine.Command, uint64(i+6), due)
		timer.Upkeep = true
		m.(machine.Timer).OnTimer(timer)
		require.Equal(t, tt.answers, timer.Effects().Answers)
	}
}

// TestAnUnlockPassesOverThoseWhoseTimeIsOver: OnTimer may come late, when there is no leader for a while.
func TestAnUnlockPassesOverThoseWhoseTimeIsOver(t *testing.T) {
	m := newLocks()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ctx := new(machine.Context)
	for i, tt := range []struct {
		at    time.Duration
		input string
	}{
		{0, `{"Lock":{"Name":"door","For":30000}}`},
		{0, `{"Lock":{"Name":"door","For":30000,"Wait":1000}}`},
		{0, `{"Lock":{"Name":"door","For":30000,"Wait":1001}}`},
		{time.Second, `{"Unlock":{"Name":"door","Token":1}}`},
	} {
		ctx = machine.NewContext(machine.Command, uint64(i+2), start.Add(tt.at))
		_, err := m.Apply(ctx, []byte(tt.input))
		require.NoError(t, err)
	}
	require.Equal(t, []machine.Answer{
		{Ticket: machine.Ticket{Index: 3}, Err: errTaken},
		{Ticket: machine.Ticket{Index: 4}, Output: uint64(2)},
	}, ctx.Effects().Answers)
}

func TestAnUnknownOperationIsCalledSo(t *testing.T) {
	_, err := newLocks().Apply(machine.NewContext(machine.Command, 2, time.Now()), []byte(`{"Look":1}`))
	require.EqualError(t, err, `unknown operation "Look"`)
}

func TestWhatLocksAnswer(t *testing.T) {
	m := newLocks()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for i, tt := range []struct {
		kind    machine.Kind
		version int
		input   string
		wants   any // nil: an error
	}{
		{machine.Command, 0, `{"Lock":{"Name":"door","For":86400000}}`, "1"},
		{machine.Command, 0, `{"Lock":{"Name":"gate","For":86400001}}`, nil},
		{machine.Command, 0, `{"Lock":{"Name":"gate","For":0}}`, nil},
		{machine.Command, 0, `{"Lock":{"Name":"gate","For":-1}}`, nil},
		{machine.Command, 0, `{"Lock":{"Name":"gate"}}`, nil},
		{machine.Command, 1, `{"Lock":{"Name":"gate","For":3600001}}`, nil},
		{machine.Command, 1, `{"Lock":{"Name":"gate","For":3600000}}`, "2"},
		{machine.Command, 1, `{"Lock":{"Name":"gate","For":3600000}}`, nil},
		{machine.Command, 1, `{"Lock":{"Name":"gate","For":3600000,"Wait":-1}}`, nil},
		{machine.Command, 1, `{"Lock":{"Name":"gate","For":3600000,"Wait":3600001}}`, nil},
		{machine.Query, 1, `{"Holder":{"Name":"gate"}}`, uint64(2)},
		{machine.LocalQuery, 1, `{"Watch":{"Name":"gate","Token":1}}`, uint64(2)},
		{machine.Query, 1, `{"Watch":{"Name":"roof","Token":1}}`, uint64(0)},
		{machine.Command, 1, `{"Watch":{"Name":"gate","Token":1}}`, nil},
		{machine.Command, 1, `{"Extend":{"Name":"gate","Token":2,"For":3600001}}`, true},
		{machine.Command, 1, `{"Extend":{"Name":"gate","Token":2,"For":86400001}}`, nil},
		{machine.Command, 1, `{"Extend":{"Name":"gate","Token":1,"For":1}}`, nil},
		{machine.Command, 1, `{"Extend":{"Name":"roof","Token":0,"For":1}}`, nil},
		{machine.Command, 1, `{"Unlock":{"Name":"roof"}}`, nil},
		{machine.Command, 1, `{"Unlock":{"Name":"gate","Token":1}}`, nil},
		{machine.Query, 1, `{"Unlock":{"Name":"gate","Token":2}}`, nil},
		{machine.Query, 1, `{"Lock":{"Name":"roof","For":1}}`, nil},
		{machine.Command, 1, `{"Unlock":{"Name":"gate","Token":2}}`, true},
		{machine.Command, 1, `{"Unlock":{"Name":"gate","Token":2}}`, nil},
		{machine.Query, 1, `{"Holder":{"Name":"gate"}}`, uint64(0)},
		{machine.Query, 1, `"Holder"`, nil},
		{machine.Query, 1, `{"holder":{"Name":"gate"}}`, nil},
		{machine.Query, 1, `{"Holder":{"Name":"gate","Who":1}}`, nil},
	} {
		ctx := machine.NewContext(tt.kind, uint64(i+2), now)
		ctx.Version = tt.version
		out, err := m.Apply(ctx, []byte(tt.input))
		if tt.wants == nil {
			require.Error(t, err, tt.input)
			require.False(t, ctx.Asked(), tt.input)
			continue
		}
		require.NoError(t, err, tt.input)
		if token, ok := tt.wants.(string); ok {
			require.Len(t, ctx.Effects().Answers, 1, tt.input)
			out, tt.wants = ctx.Effects().Answers[0].Output, uint64(token[0]-'0')
		}
		require.Equal(t, tt.wants, out, tt.input)
	}
	require.Equal(t, now.Add(day*time.Millisecond), m.(machine.Timer).NextTimer())
}

func TestWhatASessionHeldIsFreeWhenItEnds(t *testing.T) {
	m := newLocks()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	lock := func(index, session uint64, name string) {
		ctx := machine.NewContext(machine.Command, index, now)
		ctx.Session = session
		_, err := m.Apply(ctx, []byte(`{"Lock":{"Name":"`+name+`","For":1000,"Wait":1000}}`))
		require.NoError(t, err)
	}
	lock(2, 1, "gate") // token 1
	lock(3, 1, "door") // token 2
	lock(4, 9, "roof") // token 3
	lock(5, 1, "roof")
	lock(6, 9, "roof")
	lock(7, 9, "gate")

	ctx := machine.NewContext(machine.Command, 8, now)
	ctx.Upkeep = true
	m.(machine.SessionEnder).OnSessionEnd(ctx, 1)
	answers := ctx.Effects().Answers
	require.Len(t, answers, 2)
	require.Equal(t, machine.Answer{Ticket: machine.Ticket{Index: 7}, Output: uint64(4)}, answers[0])
	require.Equal(t, machine.Ticket{Index: 5}, answers[1].Ticket)
	require.Equal(t, errTaken, answers[1].Err)
	require.ElementsMatch(t, []string{"door", "gate", "gate"}, ctx.Effects().Wakes)

	ctx = machine.NewContext(machine.Command, 9, now)
	_, err := m.Apply(ctx, []byte(`{"Unlock":{"Name":"roof","Token":3}}`))
	require.NoError(t, err)
	require.Equal(t, []machine.Answer{{Ticket: machine.Ticket{Index: 6}, Output: uint64(5)}}, ctx.Effects().Answers)
}

func TestWhoHasGoneHoldsNothing(t *testing.T) {
	m := newLocks()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for index := range uint64(4) {
		_, err := m.Apply(machine.NewContext(machine.Command, 2+index, now), []byte(`{"Lock":{"Name":"door","For":1000,"Wait":1000}}`))
		require.NoError(t, err)
	}
	abandon := func(ticket uint64) []machine.Answer {
		ctx := machine.NewContext(machine.Command, 9, now)
		ctx.Upkeep = true
		m.(machine.Abandoner).OnAbandon(ctx, machine.Ticket{Index: ticket})
		return ctx.Effects().Answers
	}
	require.Equal(t, []machine.Answer{{Ticket: machine.Ticket{Index: 3}, Err: errTaken}}, abandon(3))
	require.Equal(t, []machine.Answer{{Ticket: machine.Ticket{Index: 4}, Output: uint64(2)}}, abandon(2)) // it held the lock
	require.Empty(t, abandon(2))
	require.Empty(t, abandon(3))
	require.Equal(t, []machine.Answer{{Ticket: machine.Ticket{Index: 5}, Output: uint64(3)}}, abandon(4))
}

func TestOnlyExtendNeedsTheNewVersion(t *testing.T) {
	m := newLocks()
	require.Equal(t, 1, m.(machine.Versioned).Version())
	require.Equal(t, 1, m.(machine.Needer).Needs([]byte(`{"Extend":{}}`)))
	require.Equal(t, 0, m.(machine.Needer).Needs([]byte(`{"Lock":{}}`)))
}
