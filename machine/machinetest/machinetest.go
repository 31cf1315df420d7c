package machinetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftpico/go/machine"
)

// Config tells what to check. New and Inputs are needed; the zero value of all else is good.
type Config struct {
	// New returns a machine as it is before its first command. It is called many times, and no two machines may share
	// anything that changes.
	New func() machine.Machine

	// Inputs are sample inputs, one of each sort or a few: Go values, which are encoded as JSON, or json.RawMessage.
	// Each is used for commands and for queries, again and again, as it is and with parts of it replaced, also by
	// nonsense. So inputs that are about the same things ("lock a", "unlock a") find more than ones that are not.
	Inputs []any

	// Draw, where not nil, returns further inputs, as in Inputs, that are made of random numbers.
	Draw func(r *rand.Rand) any

	// Seed chooses the sequences of Run: sequence i is that of Seed+i, always the same one. Zero is a seed like others.
	Seed uint64

	// Runs is how many sequences Run tries. Zero: 300, or 60 with -short.
	Runs int

	// Steps is how long a sequence is at most. Zero: 50.
	Steps int
}

// Run checks a machine with random sequences of calls, and fails the test at the first fault that it finds. It tells
// what is wrong, with the shortest sequence found that shows it. It must not be called inside of a synctest bubble.
func Run(t *testing.T, c Config) {
	t.Helper()
	h, err := newHarness(c)
	if err != nil {
		t.Fatal(err)
	}
	runs := c.Runs
	switch {
	case runs == 0 && testing.Short():
		runs = 60
	case runs == 0:
		runs = 300
	}
	for i := range uint64(runs) {
		if f := h.find(t, h.seeded(c.Seed+i)); f != nil {
			t.Fatalf("%v\nTo see it again: machinetest.Config{…, Seed: %d, Runs: 1}", f, c.Seed+i)
		}
	}
	if h.taken == 0 && runs > 1 {
		t.Fatal("machinetest: all commands were refused, so nothing was checked: do the Inputs fit the machine?")
	}
}

// Fuzz checks a machine with sequences of calls that go's fuzzer makes, and with inputs of its own. Without -fuzz it
// tries its seeds and what was found earlier. Config.Seed and Config.Runs mean nothing here.
//
// What Fuzz reports is short already. So let the fuzzer spend no time on that, of which it takes much:
//
//	go test -fuzz FuzzMachine -fuzzminimizetime 10x
func Fuzz(f *testing.F, c Config) {
	f.Helper()
	h, err := newHarness(c)
	if err != nil {
		f.Fatal(err)
	}
	for i, sample := range h.samples {
		f.Add(h.bytes(uint64(i)), sample)
	}
	f.Fuzz(func(t *testing.T, sequence, input []byte) {
		g := *h
		if input, err := checked(input); err == nil {
			g.samples = append(g.samples[:len(g.samples):len(g.samples)], input)
		}
		if f := g.find(t, g.draw(sequence)); f != nil {
			t.Fatal(f)
		}
	})
}

// harness is what all sequences of a test share.
type harness struct {
	Config
	samples [][]byte // valid JSON, compact
	taken   int      // commands that were carried out without an error

	running  *atomic.Pointer[call] // what a machine does now
	patience time.Duration
	warn     func(text string)
}

// find plays a script. It returns the fault that it shows, with the shortest script found.
func (h *harness) find(t *testing.T, s script) *fault {
	t.Helper()
	if f := h.run(t, s); f != nil {
		return h.shrink(t, s, f)
	}
	return nil
}

// run plays a script in a bubble, whose clock stands far away from the one that the machine is given. Nothing can stop a
// machine that does not return; but whoever waits for the test is told of it.
func (h *harness) run(t *testing.T, s script) (f *fault) {
	t.Helper()
	watch := time.AfterFunc(h.patience, func() {
		if c := h.running.Load(); c != nil {
			const text = "machinetest: %s: a sequence has taken %v so far, and is now in %s"
			h.warn(fmt.Sprintf(text, t.Name(), h.patience, c.method()))
		}
	})
	defer watch.Stop()
	synctest.Test(t, func(*testing.T) { f = h.play(s) })
	return f
}

// later is how much later the other copies run than the first one. The clock of a bubble begins in the year 2000, so the
// second copy runs behind all the times that commands are given, in another second, minute, hour, day and month.
const later = 51*365*24*time.Hour + 1234567891234567*time.Nanosecond

// play plays a script on three machines, one after the other.
func (h *harness) play(s script) *fault {
	first, f := newFirst(h)
	if f == nil {
		f = first.play(s)
	}
	for _, role := range []role{second, restored} {
		if f != nil {
			break
		}
		time.Sleep(later)
		f = h.follow(role, first, s.beside)
	}
	if f != nil {
		f.trace = first.trace
	}
	return f
}

// bytes are those of which the script of a seed is drawn.
func (h *harness) bytes(seed uint64) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	data := make([]byte, 16*h.Steps)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

func (h *harness) seeded(seed uint64) script {
	s := h.draw(h.bytes(seed))
	s.beside = seed%4 == 3 // the others find the same without luck, where it is not a data race
	return s
}
