package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

type flags byte

type base struct{ X int }

// everything has what JSON has several forms for.
type everything struct {
	base
	Array    [4]byte
	Bytes    []byte
	Named    []flags
	Time     time.Time
	Duration time.Duration
	Map      map[int]string
	Quoted   int    `json:"quoted,string"`
	QuotedS  string `json:",string"`
	QuotedB  bool   `json:",string"`
	//lint:ignore SA5008 such fields are there, and are written so
	Odd      []int   `json:",string"`
	Float    float32 `json:"float,omitempty"`
	Number   json.Number
	Raw      json.RawMessage
	Pointer  *int
	Big      *big.Int
	NilSlice []int
	NilMap   map[string]int
	Empty    []int
	Any      any
	Lower    int `json:"lower"`
}

// puts answers what it holds.
type puts struct{ out any }

func (p puts) Apply(*machine.Context, json.RawMessage) (any, error) { return p.out, nil }
func (puts) Snapshot() (json.RawMessage, error)                     { return json.RawMessage("null"), nil }
func (puts) Restore(json.RawMessage) error                          { return nil }

func startPuts(t *testing.T, out any) *raftpico.Server {
	s := startServer(t, puts{out}, func(o *raftpico.Options) { o.File, o.InMemory = "", true })
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	return s
}

// TestTypedOutputIsWhatTheMachinePutOut: whatever forms JSON gives it on the way.
func TestTypedOutputIsWhatTheMachinePutOut(t *testing.T) {
	t.Parallel()
	out := everything{base: base{1}, Array: [4]byte{1, 2}, Bytes: []byte("x"), Named: []flags{3}, Time: time.Unix(5, 6).UTC(), Duration: 7,
		Map: map[int]string{8: "a"}, Quoted: 9, QuotedS: `"`, QuotedB: true, Odd: []int{10}, Float: 1.5, Number: "1.50", Raw: json.RawMessage(`{"b":1}`),
		Pointer: new(11), Big: big.NewInt(12), Empty: []int{}, Any: []any{1.5, nil}, Lower: 13}
	s := startPuts(t, out)
	for _, call := range []func(context.Context, *raftpico.Server, any) (everything, error){
		raftpico.Apply[everything], raftpico.Query[everything], raftpico.LocalQuery[everything]} {
		got, err := call(t.Context(), s, nil)
		require.NoError(t, err)
		require.Equal(t, out, got)
	}
	raw, err := raftpico.Query[json.RawMessage](t.Context(), s, nil)
	require.NoError(t, err)
	require.True(t, json.Valid(raw))
}

// TestTypedOutputIsStrict: what is no Out is refused, and a command's caller knows that it is applied.
func TestTypedOutputIsStrict(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"value":1}`, `{"Value":1,"More":2}`, `{"Value":1,"Value":2}`, `{"Value":"1"}`, `{"Value":1e40}`, `[]`, `"Value"`} {
		out, err := raftpico.Output[counter](json.RawMessage(text), nil)
		require.ErrorIs(t, err, raftpico.ErrUndecodable, text)
		require.ErrorContains(t, err, "as raftpico_test.counter", text)
		require.Zero(t, out, text)
	}
	for text, value := range map[string]int{`{"Value":1}`: 1, `{}`: 0, `null`: 0} {
		out, err := raftpico.Output[counter](json.RawMessage(text), nil)
		require.NoError(t, err, text)
		require.Equal(t, value, out.Value, text)
	}

	s := startPuts(t, "word")
	_, err := raftpico.Apply[int](t.Context(), s, nil)
	require.ErrorIs(t, err, raftpico.ErrUndecodable)
	require.ErrorContains(t, err, "the command is applied")
	_, err = raftpico.Query[int](t.Context(), s, nil)
	require.ErrorIs(t, err, raftpico.ErrUndecodable)
	require.NotContains(t, err.Error(), "applied")
}

// account refuses to be overdrawn.
type account struct{ Balance int }

type overdrawn struct {
	Balance, Missing int
}

func (a *account) Apply(ctx *machine.Context, add int) (any, error) {
	switch {
	case add == 0:
		return nil, &machine.Error{Code: 1002, Message: "nothing to do"}
	case a.Balance+add < 0:
		return nil, fmt.Errorf("at %d: %w", ctx.Index, &machine.Error{Code: 1001, Message: "account overdrawn", Data: overdrawn{a.Balance, -a.Balance - add}})
	case ctx.Kind == machine.Command:
		a.Balance += add
	}
	return a.Balance, nil
}

// TestMachinesOwnErrorsComeBackInProcess with their code, message and data, as the machine's type and as the wire's.
func TestMachinesOwnErrorsComeBackInProcess(t *testing.T) {
	t.Parallel()
	s := startServer(t, machine.JSON(&account{}), nil)
	_, err := s.CreateCluster(t.Context(), fast)
	require.NoError(t, err)
	balance, err := raftpico.Apply[int](t.Context(), s, 5)
	require.NoError(t, err)
	require.Equal(t, 5, balance)

	id, err := s.OpenSession(t.Context(), 0)
	require.NoError(t, err)
	_, err = raftpico.ApplyOnce[int](t.Context(), s, raftpico.Session{ID: id, Seq: 1}, -7)
	own, ok := errors.AsType[*machine.Error](err)
	require.True(t, ok)
	require.Equal(t, 1001, own.Code)
	for range 2 {
		balance, err = raftpico.ApplyOnce[int](t.Context(), s, raftpico.Session{ID: id, Seq: 2}, 1)
		require.NoError(t, err)
		require.Equal(t, 6, balance)
	}

	for _, kind := range []machine.Kind{machine.Command, machine.Query, machine.LocalQuery} {
		_, err = raftpico.Output[int](s.Apply(t.Context(), kind, -7))
		var own *machine.Error
		require.ErrorAs(t, err, &own)
		require.Equal(t, 1001, own.Code)
		require.Equal(t, "account overdrawn", own.Message)
		data, ok := raftpico.ErrorData[overdrawn](err)
		require.True(t, ok)
		require.Equal(t, overdrawn{6, 1}, data)
		var wire *raftpico.Error
		require.ErrorAs(t, err, &wire)
		require.JSONEq(t, `{"Balance":6,"Missing":1}`, string(wire.Data))
		require.ErrorIs(t, err, &raftpico.Error{Code: 1001})
		_, ok = raftpico.ErrorData[int](err)
		require.False(t, ok)
	}

	_, err = new(account).Apply(machine.NewContext(machine.Command, 1, time.Now()), -2)
	data, ok := raftpico.ErrorData[overdrawn](err)
	require.True(t, ok, "an error that has seen no server")
	require.Equal(t, overdrawn{0, 2}, data)

	_, err = raftpico.Apply[int](t.Context(), s, 0)
	require.ErrorAs(t, err, &own)
	require.Nil(t, own.Data)
	_, ok = raftpico.ErrorData[overdrawn](err)
	require.False(t, ok)

	_, err = raftpico.Apply[int](t.Context(), s, "x")
	require.ErrorIs(t, err, raftpico.ErrInvalidInput)
	require.False(t, errors.As(err, &own), "the framework's errors are not the machine's")
	_, ok = raftpico.ErrorData[overdrawn](err)
	require.False(t, ok)
}
