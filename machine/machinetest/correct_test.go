package machinetest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func (*counter) machine() machine.Machine { return machine.JSON(&counter{}) }

// versioned counts by the cluster's version, and has an input that only version 2 knows.
type versioned struct {
	Value  int
	Resets int `json:",omitzero"` // since version 2
}

func (*versioned) Version() int { return 2 }

func (*versioned) Needs(in string) int {
	if in == "reset" {
		return 2
	}
	return 0
}

func (*versioned) Validate(in string) error {
	if in != "add" && in != "reset" {
		return errors.New("unknown")
	}
	return nil
}

func (c *versioned) Apply(ctx *machine.Context, in string) (any, error) {
	switch {
	case ctx.Kind != machine.Command:
	case in == "add":
		c.Value += 1 + ctx.Version + ctx.Rand().IntN(1000)
	case in == "reset" && ctx.Version < 2:
		panic("Needs was not asked")
	case in == "reset":
		c.Value, c.Resets = 0, c.Resets+1
	default:
		return nil, errors.New("unknown")
	}
	return c.Value, nil
}

// sets is a machine that captures, and keeps a hash.
type sets struct {
	values map[string]int
	sum    uint64
}

func newSets() machine.Machine { return machine.JSON(&sets{values: map[string]int{}}) }

var setsInputs = []any{setInput{"a", 1}, setInput{"b", 2}, setInput{"c", 0}, setInput{"a", 0}, setInput{"d", 4}}

type setInput struct {
	Key   string
	Value int
}

func (s *sets) Apply(ctx *machine.Context, in setInput) (any, error) {
	old, ok := s.values[in.Key]
	if ctx.Kind == machine.Command {
		if ok {
			s.sum -= hashOf(in.Key, old)
			delete(s.values, in.Key)
		}
		if in.Value != 0 {
			s.values[in.Key] = in.Value
			s.sum += hashOf(in.Key, in.Value)
		}
	}
	return old, nil
}

func hashOf(key string, value int) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s=%d", key, value)) // NB: sums of FNV hashes are often equal
	return binary.LittleEndian.Uint64(sum[:])
}

func (s *sets) Hash() uint64 { return s.sum }

func (s *sets) Capture() (func(io.Writer) error, error) {
	captured := maps.Clone(s.values)
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(captured) }, nil
}

func (s *sets) Load(r io.Reader) (func(), error) {
	loaded := sets{values: map[string]int{}}
	if err := json.NewDecoder(r).Decode(&loaded.values); err != nil {
		return nil, err
	}
	for key, value := range loaded.values {
		loaded.sum += hashOf(key, value)
	}
	return func() { *s = loaded }, nil
}

// lazy is a lock for whose end a query waits. It may have ended by ctx.Time before OnTimer has run: that wakes the query.
type lazy struct {
	Until time.Time
	Tries int
}

func (l *lazy) Apply(ctx *machine.Context, ms int) (any, error) {
	free := !l.Until.After(ctx.Time)
	switch {
	case ctx.Kind != machine.Command && !free:
		ctx.Wait("free")
	case ctx.Kind == machine.Command && free && 0 < ms && ms < 1e6:
		l.Until = ctx.Time.Add(time.Duration(ms) * time.Millisecond)
	case ctx.Kind == machine.Command:
		l.Tries++
	}
	return free, nil
}

func (l *lazy) NextTimer() time.Time { return l.Until }

func (l *lazy) OnTimer(ctx *machine.Context) {
	l.Until = time.Time{}
	ctx.Wake("free")
}

func TestCorrectMachinesPass(t *testing.T) {
	for name, c := range map[string]Config{
		"counter":   {New: (*counter)(nil).machine, Inputs: []any{1, -1}},
		"locks":     {New: newLocks, Inputs: lockInputs},
		"versioned": {New: func() machine.Machine { return machine.JSON(&versioned{}) }, Inputs: []any{"add", "reset"}},
		"sets":      {New: newSets, Inputs: setsInputs},
		"lazy":      {New: func() machine.Machine { return machine.JSON(&lazy{}) }, Inputs: []any{500, 0, 7}},
		"drawn": {New: newSets, Inputs: setsInputs[:1], Draw: func(r *rand.Rand) any {
			return setInput{string(rune('a' + r.IntN(5))), r.IntN(3)}
		}},
	} {
		t.Run(name, func(t *testing.T) { Run(t, c) })
	}
}

// TestSequencesReachWhatAMachineCanDo holds against checks that pass because nothing has happened.
func TestSequencesReachWhatAMachineCanDo(t *testing.T) {
	h, err := newHarness(Config{New: newLocks, Inputs: lockInputs})
	require.NoError(t, err)
	seen := map[string]int{}
	count := func(what string, is bool) {
		if is {
			seen[what]++
		}
	}
	for seed := range uint64(300) {
		a, f := newFirst(h)
		require.Nil(t, f)
		require.Nil(t, a.play(h.seeded(seed)))
		given := map[machine.Ticket]bool{}
		for i, c := range a.trace {
			due := time.Time{} // before the call
			if i > 0 {
				due = a.trace[i-1].res.timer
			}
			count("deferred", c.res.deferred)
			count("answered later", len(c.res.answers) > 0)
			count("timer", c.op == upkeep)
			count("answered by a timer", c.op == upkeep && len(c.res.answers) > 0)
			count("answered by a session's end", c.op == end && len(c.res.answers) > 0)
			count("abandoned", c.op == abandon && !given[c.ticket])
			count("abandoned, and answered before", c.op == abandon && given[c.ticket])
			count("abandoned by a session's end", c.op == abandon && i+1 < len(a.trace) && a.trace[i+1].op == end)
			for t := range c.res.answers {
				given[t] = true
			}
			count("waits", len(c.res.waits) > 0)
			count("woken", c.again == woken)
			count("timed out", c.again == deadline && c.ctx.TimedOut && len(c.res.waits) == 0)
			count("before a timer that is due", c.op == command && !due.IsZero() && !due.After(c.ctx.Time))
			count("in a session", c.ctx.Session != 0)
			count("in one entry", c.ctx.Offset > 0)
			count("restored, new", c.op == restore && len(c.dirt) == 0)
			count("restored, used", c.op == restore && len(c.dirt) > 0)
			count("captured", c.op == capture)
			count("refused", c.res.failed)
			count("done", c.op == command && !c.res.failed)
			count("local, without a cluster", c.op == local && c.ctx.Cluster == "")
		}
	}
	t.Log(seen)
	require.Len(t, seen, 20, "something never happens: %v", seen)
	for what, times := range seen {
		require.Greater(t, times, 1, what)
	}
}

func TestVersionsAreRaised(t *testing.T) {
	h, err := newHarness(Config{New: func() machine.Machine { return machine.JSON(&versioned{}) }, Inputs: []any{"add", "reset"}})
	require.NoError(t, err)
	seen := map[string]bool{}
	for seed := range uint64(100) {
		a, f := newFirst(h)
		require.Nil(t, f)
		require.Nil(t, a.play(h.seeded(seed)))
		last := 0
		for _, c := range a.trace {
			if c.op == command {
				require.GreaterOrEqual(t, c.ctx.Version, last)
				last = c.ctx.Version
				seen[fmt.Sprint(last, " ", c.res.answer == "0")] = true
			}
			if c.op == turnedAway {
				seen[strings.Fields(c.refusal)[0]] = true
			}
		}
	}
	want := map[string]bool{"0 false": true, "1 false": true, "2 false": true, "2 true": true, "it": true, "error:": true}
	require.Equal(t, want, seen, "by version: whether a reset was carried out; the refusals of Needs and Validate")
}
