package machinetest

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// TestRunFailsAFaultyMachine runs this test binary again: a test that fails can't be a part of one that passes.
func TestRunFailsAFaultyMachine(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^(TestFaulty|FuzzFaulty|TestIdle)$", "-test.v")
	cmd.Env = append(os.Environ(), "MACHINETEST_FAULTY=yes")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	text := string(out)
	for _, want := range []string{
		"--- FAIL: TestFaulty", "--- FAIL: FuzzFaulty", "machinetest: a restored machine is not what it was",
		"a new machine is restored from a snapshot of the first one", "Most often a field is not exported", "Seed: 7, Runs: 1}",
		"--- FAIL: TestIdle", "do the Inputs fit the machine?", "machinetest: Config.New is missing",
	} {
		require.Contains(t, text, want)
	}
}

var faulty = Config{New: func() machine.Machine { return machine.JSON(&hidden{}) }, Inputs: []any{1, 2}, Seed: 7}

func TestFaulty(t *testing.T) {
	if os.Getenv("MACHINETEST_FAULTY") == "" {
		t.Skip("fails: TestRunFailsAFaultyMachine asks for it")
	}
	Run(t, faulty)
}

func FuzzFaulty(f *testing.F) {
	if os.Getenv("MACHINETEST_FAULTY") == "" {
		f.Skip("fails: TestRunFailsAFaultyMachine asks for it")
	}
	Fuzz(f, faulty)
}

// TestIdle checks nothing: a counter takes no strings.
func TestIdle(t *testing.T) {
	if os.Getenv("MACHINETEST_FAULTY") == "" {
		t.Skip("fails: TestRunFailsAFaultyMachine asks for it")
	}
	t.Run("refused", func(t *testing.T) { Run(t, Config{New: (*counter)(nil).machine, Inputs: []any{"a"}, Runs: 2}) })
	t.Run("bad", func(t *testing.T) { Run(t, Config{}) })
}

func FuzzLocks(f *testing.F) { Fuzz(f, Config{New: newLocks, Inputs: lockInputs}) }

func TestAMachineThatDoesNotReturnIsNamed(t *testing.T) {
	var told atomic.Pointer[string]
	h, err := newHarness(Config{Inputs: []any{"a"}, New: scene{apply: func(*scene, *machine.Context, string) (any, error) {
		for told.Load() == nil {
			runtime.Gosched()
		}
		return nil, nil
	}}.machine})
	require.NoError(t, err)
	h.patience, h.warn = time.Millisecond, func(text string) { told.Store(&text) }
	require.Nil(t, h.run(t, script{steps: []step{{op: command, input: h.samples[0]}}}))
	require.Contains(t, *told.Load(), `TestAMachineThatDoesNotReturnIsNamed: a sequence has taken 1ms so far, and is now in Apply of the Command "a"`)
}

func TestASeedIsAlwaysTheSameSequence(t *testing.T) {
	h, err := newHarness(Config{New: newLocks, Inputs: lockInputs})
	require.NoError(t, err)
	for seed := range uint64(50) {
		require.Equal(t, h.seeded(seed), h.seeded(seed))
		require.NotEqual(t, h.seeded(seed).steps, h.seeded(seed+1).steps)
	}
}

func TestInputsAreWhatAServerLetsPass(t *testing.T) {
	h, err := newHarness(Config{New: newLocks, Inputs: []any{
		json.RawMessage(` { "Lock" : "a" , "TTL" : 12345678901234567890 } `), "<&>", machine.Union{Tag: "Put", Value: json.RawMessage(`[1]`)}, nil,
	}})
	require.NoError(t, err)
	var samples []string
	for _, s := range h.samples {
		samples = append(samples, string(s))
	}
	require.Equal(t, []string{`{"Lock":"a","TTL":12345678901234567890}`, `"<&>"`, `{"Put":[1]}`, `null`}, samples)
	drawn := map[string]bool{}
	for seed := range uint64(200) {
		for _, st := range h.seeded(seed).steps {
			if st.input == nil {
				continue
			}
			compact, err := checked(st.input)
			require.NoError(t, err, string(st.input))
			require.Equal(t, string(compact), string(st.input))
			drawn[string(compact)] = true
		}
	}
	require.Greater(t, len(drawn), 200)
	for _, s := range samples {
		require.Contains(t, drawn, s)
		require.Equal(t, s, string(h.samples[0]), "a sample has changed")
		h.samples = h.samples[1:]
	}
}

func TestBadConfigsAreRefused(t *testing.T) {
	good := Config{New: newLocks, Inputs: lockInputs}
	for want, change := range map[string]func(*Config){
		"New is missing":        func(c *Config) { c.New = nil },
		"Inputs is empty":       func(c *Config) { c.Inputs = nil },
		"Inputs[1]: jsonrpc":    func(c *Config) { c.Inputs = []any{1, json.RawMessage(`{`)} },
		"Inputs[0]: json: unsu": func(c *Config) { c.Inputs = []any{make(chan int)} },
		"Steps can't be":        func(c *Config) { c.Steps = -1 },
	} {
		c := good
		change(&c)
		_, err := newHarness(c)
		require.ErrorContains(t, err, want)
	}
}
