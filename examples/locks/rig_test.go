package main

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// rig is a machine without a server, whose clock the test moves.
type rig struct {
	t       *testing.T
	m       *service
	index   uint64
	now     time.Time
	answers map[machine.Ticket]string // what deferred answers were
	wakes   []string                  // of the last call
}

func newRig(t *testing.T) *rig {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return &rig{t: t, m: newEmptyService(), index: 1, now: at, answers: map[machine.Ticket]string{}}
}

// apply applies an input, and returns the answer as text. It is "" if the answer comes later: its ticket is of r.index.
func (r *rig) apply(kind machine.Kind, session uint64, input string) string {
	r.t.Helper()
	if kind == machine.Command {
		r.index++
	}
	ctx := machine.NewContext(kind, r.index, r.now)
	ctx.Session = session
	var in machine.Union
	require.NoError(r.t, json.Unmarshal([]byte(input), &in))
	out, err := r.m.Apply(ctx, in)
	effects := ctx.Effects()
	r.take(ctx)
	switch {
	case err == nil && effects.Deferred:
		return r.answer(r.index)
	case err == nil && len(effects.Waits) > 0:
		return "waits"
	}
	return asText(r.t, out, err)
}

// do is a Command, with the parts of one request: without braces.
func (r *rig) do(parts string) string {
	r.t.Helper()
	return r.apply(machine.Command, 0, `{"Do":{"Tenant":"t",`+parts+`}}`)
}

func (r *rig) doIn(session uint64, parts string) string {
	r.t.Helper()
	return r.apply(machine.Command, session, `{"Do":{"Tenant":"t",`+parts+`}}`)
}

// get is a Query for values.
func (r *rig) get(key string) string {
	r.t.Helper()
	return r.apply(machine.Query, 0, `{"Get":{"Tenant":"t","KVGet":["`+key+`"]}}`)
}

// answer is the answer to the command of an index, or "" if there is none yet.
func (r *rig) answer(index uint64) string { return r.answers[machine.Ticket{Index: index}] }

// pass lets time pass, and timers run.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for n := 0; ; n++ {
		next := r.m.NextTimer()
		if next.IsZero() || next.After(end) {
			break
		}
		require.Less(r.t, n, 10_000, "the timer does not move on")
		r.now = next
		r.upkeep(r.m.OnTimer)
	}
	r.now = end
}

// upkeep runs a method that is no Apply.
func (r *rig) upkeep(f func(*machine.Context)) {
	r.t.Helper()
	r.index++
	ctx := machine.NewContext(machine.Command, r.index, r.now)
	ctx.Upkeep = true
	f(ctx)
	r.take(ctx)
}

func (r *rig) take(ctx *machine.Context) {
	r.t.Helper()
	effects := ctx.Effects()
	require.Empty(r.t, effects.Misuse)
	r.wakes = append([]string(nil), effects.Wakes...)
	for _, a := range effects.Answers {
		_, twice := r.answers[a.Ticket]
		require.False(r.t, twice, "answered twice: %v", a.Ticket)
		r.answers[a.Ticket] = asText(r.t, a.Output, a.Err)
	}
}

// snapshot is the state as bytes.
func (r *rig) snapshot() string {
	r.t.Helper()
	write, err := r.m.Capture()
	require.NoError(r.t, err)
	var b bytes.Buffer
	require.NoError(r.t, write(&b))
	require.True(r.t, json.Valid(b.Bytes()))
	return b.String()
}

// restart replaces the machine by one that is restored from its snapshot.
func (r *rig) restart() {
	r.t.Helper()
	before, size := r.snapshot(), r.m.size
	fresh := newEmptyService()
	fresh.limits = r.m.limits
	install, err := fresh.Load(bytes.NewReader([]byte(before)))
	require.NoError(r.t, err)
	install()
	require.Equal(r.t, r.m.NextTimer(), fresh.NextTimer())
	r.m = fresh
	require.Equal(r.t, before, r.snapshot())
	require.Equal(r.t, size, r.m.size)
}

// asText is an answer as text.
func asText(t *testing.T, out any, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	b, err := json.Marshal(out)
	require.NoError(t, err)
	return string(b)
}

// exampleCluster starts a server on a port of the system's choice.
func exampleCluster() (addrs []string, stop func()) {
	s, err := raftpico.Start(newService(), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, err = s.CreateCluster(context.Background(), raftpico.Timeouts{})
	}
	if err != nil {
		panic(err)
	}
	return []string{s.Addr()}, func() { _ = s.Close() }
}
