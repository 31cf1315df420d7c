package machinetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// planted are machines with one fault each, by the fault that must be reported. Most are a scene: a machine made of
// functions, whose zero value is correct.
type planted struct {
	name string
	want kind
	says string // a part of what is reported
	New  func() machine.Machine
	in   []any
}

var (
	one        = []any{"a", "b", "c"}
	globalVar  int
	sharedOne  = &counter{}
	moment2030 = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

var faults = []planted{
	{"map order in an answer", copiesDiffer, "answers to the last call", onCommand(func(s *scene, _ *machine.Context, _ string) (any, error) {
		for key := range s.State {
			return key, nil
		}
		return nil, nil
	}), one},
	{"map order in the state", copiesDiffer, "states differ", onCommand(func(s *scene, _ *machine.Context, _ string) (any, error) {
		for key := range s.State {
			s.Extra, _ = json.Marshal(key)
		}
		return nil, nil
	}), one},
	{"map order in a snapshot", unsteady, "Two snapshots", scene{snapshot: func(s *scene) (json.RawMessage, error) {
		var members []string
		for key, n := range s.State {
			members = append(members, fmt.Sprintf(`%q:%d`, key, n))
		}
		return json.RawMessage(`{"State":{` + strings.Join(members, ",") + `}}`), nil
	}}.machine, one},
	{"map order in an error", copiesDiffer, "error: ", onCommand(func(s *scene, _ *machine.Context, _ string) (any, error) {
		for key := range s.State {
			return nil, errors.New(key)
		}
		return nil, nil
	}), one},
	{"time.Now in the state", copiesDiffer, "2051-", onCommand(func(s *scene, _ *machine.Context, _ string) (any, error) {
		s.Extra, _ = json.Marshal(time.Now())
		return nil, nil
	}), one},
	{"time.Now in days", copiesDiffer, "", onCommand(func(*scene, *machine.Context, string) (any, error) { return time.Now().Weekday(), nil }), one},
	{"time.Now against ctx.Time", copiesDiffer, "", onCommand(func(_ *scene, ctx *machine.Context, _ string) (any, error) {
		return time.Now().After(ctx.Time.Add(time.Hour)), nil
	}), one},
	{"time.Now in NextTimer", copiesDiffer, "NextTimer", scene{next: func(*scene) time.Time { return time.Now().AddDate(100, 0, 0) }}.machine, one},
	{"a random number", copiesDiffer, "", onCommand(func(*scene, *machine.Context, string) (any, error) { return rand.Uint64(), nil }), one},
	{"a global variable", copiesDiffer, "", onCommand(func(*scene, *machine.Context, string) (any, error) { globalVar++; return globalVar, nil }), one},
	{"a state that all share", shared, "before any command", func() machine.Machine { return machine.JSON(sharedOne) }, []any{1}},
	{"an address", copiesDiffer, "", onCommand(func(s *scene, _ *machine.Context, _ string) (any, error) { return fmt.Sprintf("%p", s), nil }), one},
	{"a field that is not exported", restoredDiffers, "not exported", func() machine.Machine { return machine.JSON(&hidden{}) }, []any{1, 2}},
	{"a restore that adds to the old state", restoredDiffers, "used machine", scene{restore: func(s *scene, b json.RawMessage) error {
		return json.Unmarshal(b, s)
	}}.machine, one},
	{"a snapshot that is refused", notRestored, "no number", scene{restore: func(s *scene, b json.RawMessage) error {
		return errors.New("no number")
	}}.machine, one},
	{"a snapshot with a comma too many", noSnapshot, "", scene{snapshot: func(*scene) (json.RawMessage, error) { return json.RawMessage(`{"State":{},}`), nil }}.machine, one},
	{"a snapshot with an error", noSnapshot, "too tired", scene{snapshot: func(s *scene) (json.RawMessage, error) {
		if len(s.State) > 1 {
			return nil, errors.New("too tired")
		}
		return json.Marshal(s)
	}}.machine, one},
	{"a query that writes", readWrites, "", scene{apply: func(s *scene, _ *machine.Context, in string) (any, error) {
		s.State[in]++
		return nil, nil
	}}.machine, one},
	{"a query that writes where no snapshot shows it", copiesDiffer, "not got the queries", scene{apply: func(s *scene, ctx *machine.Context, in string) (any, error) {
		if ctx.Kind == machine.Query {
			s.calls++
			return nil, nil
		}
		return s.calls, nil
	}}.machine, one},
	{"a Validate that writes", readWrites, "Validate", scene{validate: func(s *scene, in string) error { s.State[in]++; return nil }}.machine, one},
	{"a NextTimer that writes", readWrites, "", scene{next: func(s *scene) time.Time { s.State["n"]++; return time.Time{} }}.machine, one},
	{"a NextTimer that is always another", timerWanders, "", scene{next: func(s *scene) time.Time {
		s.calls++
		return moment2030.Add(time.Duration(s.calls))
	}}.machine, one},
	{"a panic on a bad input", panics, "index out of range", onCommand(func(_ *scene, _ *machine.Context, in string) (any, error) { return in[0], nil }), one},
	{"a panic in some state", panics, "divide by zero", onCommand(func(s *scene, _ *machine.Context, in string) (any, error) {
		return 1 / (s.State[in] - 3), nil
	}), one},
	{"a panic in a query", panics, "nil map", scene{apply: func(_ *scene, ctx *machine.Context, in string) (any, error) {
		var m map[string]int
		if ctx.Kind == machine.LocalQuery {
			m[in] = 1 //lint:ignore SA5000 it is planted
		}
		return nil, nil
	}}.machine, one},
	{"a panic on what Validate refuses", panics, "older build", scene{
		validate: func(_ *scene, in string) error {
			if in == "a" {
				return errors.New("not a")
			}
			return nil
		},
		apply: func(_ *scene, ctx *machine.Context, in string) (any, error) {
			if in == "a" && ctx.Kind == machine.Command {
				panic("Validate has let an a pass")
			}
			return nil, nil
		}}.machine, one},
	{"a panic when a session ends", panics, "OnSessionEnd", scene{sessionEnd: func(*scene, uint64) { panic("no such session") }}.machine, one},
	{"a Validate that looks at the state", judgesState, "Validate", scene{validate: func(s *scene, in string) error {
		if s.State[in] > 1 {
			return errors.New("often enough")
		}
		return nil
	}}.machine, one},
	{"a Needs that looks at the state", judgesState, "Needs", func() machine.Machine { return machine.JSON(&needy{}) }, []any{"add"}},
	{"a Version that changes", wrongVersion, "", func() machine.Machine { return machine.JSON(&growing{}) }, []any{1}},
	{"an output that is no JSON", badOutput, "float64", onCommand(func(*scene, *machine.Context, string) (any, error) { return math.NaN(), nil }), one},
	{"a raw output that is no JSON", badOutput, "RawMessage", onCommand(func(_ *scene, _ *machine.Context, in string) (any, error) {
		return json.RawMessage(in), nil
	}), one},
	{"a raw output whose bytes are used again", outputChanged, "", onCommand(func(s *scene, _ *machine.Context, in string) (any, error) {
		out, _ := json.Marshal(in)
		s.Extra = append(s.Extra[:0], out...)
		return s.Extra, nil
	}), one},
	{"an input that is changed", inputChanged, "", func() machine.Machine {
		return touching{scene{}.machine().(*scene), func(input json.RawMessage) { slices.Reverse(input) }}
	}, []any{"ab"}},
	{"an input that is appended to", inputChanged, "belong to others", func() machine.Machine {
		return touching{scene{}.machine().(*scene), func(input json.RawMessage) { _ = append(input, '!') }}
	}, []any{"ab"}},
	{"a snapshot whose bytes are used again", snapshotChanged, "", func() machine.Machine {
		buf := new(bytes.Buffer)
		return scene{snapshot: func(s *scene) (json.RawMessage, error) {
			buf.Reset()
			err := json.NewEncoder(buf).Encode(s)
			return buf.Bytes(), err
		}}.machine()
	}, one},
	{"Defer in a query", misuse, "Defer", scene{apply: func(_ *scene, ctx *machine.Context, _ string) (any, error) { ctx.Defer(); return nil, nil }}.machine, one},
	{"Wait in a command", misuse, "Wait", scene{apply: func(_ *scene, ctx *machine.Context, _ string) (any, error) { ctx.Wait("k"); return nil, nil }}.machine, one},
	{"an answer for nobody's ticket", strangeTicket, "", onCommand(func(_ *scene, ctx *machine.Context, _ string) (any, error) {
		ctx.Answer(machine.Ticket{Index: ctx.Index - 1}, nil, nil)
		return nil, nil
	}), one},
	{"an answer that no JSON can be made of", badOutput, "", onCommand(func(_ *scene, ctx *machine.Context, _ string) (any, error) {
		ctx.Answer(ctx.Defer(), func() {}, nil)
		return nil, nil
	}), one},
	{"a client that stays in line when it has gone", answersGone, "OnAbandon of", inLine(func(*scene, *machine.Context, machine.Ticket) {}), one},
	{"a panic when nobody is in line", panics, "OnAbandon", inLine(func(s *scene, _ *machine.Context, t machine.Ticket) {
		i := 0
		for s.Line[i] != t {
			i++
		}
		s.Line = slices.Delete(s.Line, i, i+1)
	}), one},
	{"time.Now when a client has gone", copiesDiffer, "OnAbandon", inLine(func(s *scene, _ *machine.Context, t machine.Ticket) {
		s.Line = slices.DeleteFunc(s.Line, func(o machine.Ticket) bool { return o == t })
		s.State["gone"] = int(time.Now().Unix())
	}), one},
	{"a timer that stays where it is", timerStays, "", scene{
		next: func(s *scene) time.Time {
			if s.State["a"] == 0 {
				return time.Time{}
			}
			return epoch
		},
		timer: func(*scene, *machine.Context) {},
	}.machine, one},
	{"a timer that counts for ever", timerStays, "1000 times", scene{
		next:  func(*scene) time.Time { return epoch.Add(time.Hour) },
		timer: func(s *scene, _ *machine.Context) { s.State["timer"]++ },
	}.machine, one},
	{"a wake that is forgotten", lostWake, `"a"`, scene{apply: func(s *scene, ctx *machine.Context, in string) (any, error) {
		switch {
		case ctx.Kind == machine.Command:
			s.State[in]++
			if in != "a" {
				ctx.Wake(in)
			}
		case s.State[in]%3 == 0:
			ctx.Wait(in)
		}
		return s.State[in], nil
	}}.machine, one},
	{"wakes that differ", copiesDiffer, "wakes", onCommand(func(s *scene, ctx *machine.Context, _ string) (any, error) {
		for key := range s.State {
			ctx.Wake(key)
			break
		}
		return nil, nil
	}), one},
	{"a capture that shares the state", lateCapture, "", func() machine.Machine {
		s := &sets{values: map[string]int{}}
		return raw(lateSets{s}, s.Apply)
	}, setsInputs},
	{"a write that keeps an error to itself", errorLost, "", func() machine.Machine {
		s := &sets{values: map[string]int{}}
		return raw(deafSets{s}, s.Apply)
	}, setsInputs},
	{"a hash that does not see all", wrongHash, "two states", func() machine.Machine {
		s := &sets{values: map[string]int{}}
		return raw(blindSets{s}, s.Apply)
	}, setsInputs},
}

// More faults, in machines that work otherwise.
var more = []planted{
	{"New that returns nil", noMachine, "", func() machine.Machine { return nil }, one},
	{"New that panics", panics, "New panics: no file", func() machine.Machine { panic("no file") }, one},
	{"a Version below zero", wrongVersion, "-1", func() machine.Machine { return machine.JSON(&negative{}) }, []any{1}},
	{"deferred answers that differ", copiesDiffer, "deferred answers", func() machine.Machine { return machine.JSON(&luckyLocks{}) }, one},
	{"a ticket that no snapshot holds", restoredDiffers, "deferred answers", func() machine.Machine { return machine.JSON(&forgetfulLocks{}) }, one},
	{"a timer that no snapshot holds", restoredDiffers, "NextTimer", func() machine.Machine { return machine.JSON(&forgetfulTimer{}) }, []any{1}},
	{"a hash that is not restored", restoredDiffers, "hashes", func() machine.Machine {
		s := &sets{values: map[string]int{}}
		return raw(staleSets{s}, s.Apply)
	}, setsInputs},
	{"a Load that does not build apart", restoredDiffers, "used machine", func() machine.Machine {
		s := &sets{values: map[string]int{}}
		return raw(hastySets{s}, s.Apply)
	}, setsInputs},
}

func TestPlantedFaultsAreFound(t *testing.T) {
	for _, p := range append(faults, more...) {
		t.Run(p.name, func(t *testing.T) {
			h, err := newHarness(Config{New: p.New, Inputs: p.in})
			require.NoError(t, err)
			for seed := range uint64(300) {
				s := h.seeded(seed)
				s.beside = false // or else the race detector finds some first
				if f := h.find(t, s); f != nil {
					t.Log("seed", seed, f)
					require.Equal(t, p.want, f.kind, "%v", f)
					require.Contains(t, f.String(), p.says)
					require.LessOrEqual(t, len(f.trace), 8, "the sequence could be shorter: %v", f)
					return
				}
			}
			require.Fail(t, "not found")
		})
	}
}

// TestWhatDiffersByChanceIsNotBlamedOnARestore holds against a report that leads astray.
func TestWhatDiffersByChanceIsNotBlamedOnARestore(t *testing.T) {
	i := slices.IndexFunc(faults, func(p planted) bool { return p.name == "map order in the state" })
	h, err := newHarness(Config{New: faults[i].New, Inputs: one})
	require.NoError(t, err)
	s := script{steps: []step{{op: command, input: h.samples[0]}, {op: command, input: h.samples[1]}, {op: restore}}}
	for range 30 {
		s.steps = append(s.steps, step{op: query, input: h.samples[1]}, step{op: command, input: h.samples[2]})
	}
	f := h.shrink(t, s, &fault{kind: restoredDiffers})
	require.Equal(t, copiesDiffer, f.kind)
	require.LessOrEqual(t, len(f.trace), 4, "%v", f)
}
