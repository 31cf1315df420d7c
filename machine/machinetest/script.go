package machinetest

import (
	"math/rand/v2"
	"time"
)

// op is what happens in a step of a script, and in a call of a trace.
type op int

const (
	command    op = iota // a command is applied
	query                // a query is run on the first copy and on the restored one
	local                // a local query
	pass                 // time goes by, and timers run
	open                 // a session is opened
	end                  // a session is ended
	raise                // the cluster's version of the machine is raised
	restore              // the restored copy is made anew, from a snapshot of the first one
	capture              // the second copy is captured, and goes on
	write                // what it has captured is written
	expire               // the deadline of a waiting query comes
	abandon              // nobody waits for a deferred answer; of a machine that does not want to know: as expire
	upkeep               // calls of a trace only: OnTimer
	turnedAway           // calls of a trace only: a command that is refused before it is logged
)

// script is a sequence to be tried. Every part of it can be left out, and the rest still is a script.
type script struct {
	steps  []step
	beside bool // snapshots are written and loaded while the machine goes on, as the race detector wants it
}

type step struct {
	op    op
	input []byte
	n     int           // which session, query, or version
	after time.Duration // since the step before
	gap   int           // indexes or offsets that are left out
	joins bool          // the command is in the log entry of the one before
	late  bool          // timers that are due have not run yet
	dirt  [][]byte      // what the machine did that is restored; nil: it is new
}

// choices draws from bytes, which a seed or the fuzzer has made: near ones make near scripts.
type choices struct{ data []byte }

// n returns a number 0 ≤ n < limit ≤ 256, and 0 when there is nothing left.
func (c *choices) n(limit int) int {
	if len(c.data) == 0 || limit < 2 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % limit
}

func (c *choices) Uint64() (v uint64) {
	for range 8 {
		v = v<<8 | uint64(c.n(256))
	}
	return v
}

// pauses go by between two steps: mostly so little that times are equal.
var pauses = []time.Duration{0, 0, 0, 1, 1, 7, 500, 1000, 10_000, 61_000, 3_600_000, 90_000_000}

func (c *choices) pause() time.Duration { return pauses[c.n(len(pauses))] * time.Millisecond }

// often tells how often an op is drawn.
var often = []struct {
	op op
	of int
}{
	{command, 124}, {query, 40}, {local, 12}, {pass, 18}, {open, 10}, {end, 8}, {raise, 4}, {restore, 20},
	{capture, 6}, {write, 6}, {expire, 2}, {abandon, 6},
}

func (c *choices) op() op {
	b := c.n(256)
	for _, o := range often {
		if b -= o.of; b < 0 {
			return o.op
		}
	}
	return command
}

// draw makes a script of bytes.
func (h *harness) draw(data []byte) (s script) {
	c := &choices{data}
	for len(s.steps) < h.Steps && len(c.data) > 0 {
		st := step{op: c.op()}
		switch st.op {
		case command:
			st.input = h.input(c)
			how := c.n(256)
			st.joins, st.late = how%4 == 0, how/4%4 == 0
			st.n = max(0, how/16-8) // half of the commands belong to no session
			if c.n(2) == 0 {
				st.after = c.pause()
			}
			if c.n(8) == 0 {
				st.gap = 1 + c.n(50)
			}
		case query, local:
			st.input = h.input(c)
		case pass:
			st.after = c.pause() + time.Millisecond
		case restore:
			for range max(0, c.n(12)-5) { // half of the machines are new
				st.dirt = append(st.dirt, h.input(c))
			}
		default:
			st.n = c.n(256)
		}
		s.steps = append(s.steps, st)
	}
	return s
}

// input draws an input.
func (h *harness) input(c *choices) []byte {
	how := c.n(16)
	if h.Draw != nil && how >= 8 {
		if in, err := encodeInput(h.Draw(rand.New(rand.NewPCG(c.Uint64(), 0)))); err == nil {
			return in
		}
	}
	in := h.samples[c.n(len(h.samples))]
	switch {
	case how == 0:
		return []byte(nonsense[c.n(len(nonsense))])
	case how < 5:
		return h.mutate(c, in)
	}
	return in
}
