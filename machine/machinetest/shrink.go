package machinetest

import (
	"slices"
	"testing"
	"time"
)

// Shrinking ends after this many tries, or this long.
const (
	maxTries   = 3000
	shrinkTime = 5 * time.Second
)

// shrink looks for a shorter script that shows the same kind of fault, and returns the fault of the shortest.
func (h *harness) shrink(t *testing.T, s script, f *fault) *fault {
	t.Helper()
	taken := h.taken
	defer func() { h.taken = taken }()
	tries, began := 0, time.Now()
	showsAs := func(kind kind, candidate script) bool {
		for range kind.tries() {
			if tries++; tries > maxTries || time.Since(began) > shrinkTime {
				return false
			}
			if g := h.run(t, candidate); g != nil && g.kind == kind {
				s, f = candidate, g
				return true
			}
		}
		return false
	}
	shows := func(candidate script) bool { return showsAs(f.kind, candidate) }
	if f.kind == restoredDiffers { // perhaps copies differ anyhow
		showsAs(copiesDiffer, s.but(restore))
	}
	shows(script{steps: s.steps})
	for n := -1; n != s.size(); {
		n = s.size()
		for many := max(1, len(s.steps)/2); many > 0; many /= 2 {
			for i := len(s.steps) - many; i >= 0; i = min(i-many, len(s.steps)-many) {
				shows(s.without(i, many))
			}
		}
		for i := range s.steps {
			for slices.ContainsFunc(s.steps[i].simpler(h.samples), func(st step) bool { return shows(s.with(i, st)) }) {
			}
		}
	}
	return f
}

// tries is how often a script is tried. By the order of a map, a fault may show in one run and not in the next.
func (k kind) tries() int {
	switch k {
	case copiesDiffer, restoredDiffers, unsteady:
		return 24
	}
	return 2
}

// but is the script without the steps of a sort.
func (s script) but(op op) script {
	s.steps = slices.DeleteFunc(slices.Clone(s.steps), func(st step) bool { return st.op == op })
	return s
}

// size counts what can be left out.
func (s script) size() (n int) {
	for _, st := range s.steps {
		n += 1 + len(st.dirt)
	}
	return n
}

func (s script) without(i, many int) script {
	s.steps = slices.Delete(slices.Clone(s.steps), i, i+many)
	return s
}

func (s script) with(i int, st step) script {
	s.steps = slices.Clone(s.steps)
	s.steps[i] = st
	return s
}

// simpler returns steps that are a little simpler.
func (st step) simpler(samples [][]byte) (all []step) {
	try := func(change func(*step)) {
		simpler := st
		change(&simpler)
		all = append(all, simpler)
	}
	if st.gap > 0 || st.joins || st.late {
		try(func(s *step) { s.gap, s.joins, s.late = 0, false, false })
	}
	if st.op == command && st.n > 0 {
		try(func(s *step) { s.n = 0 })
	}
	if st.op == command && st.after > 0 {
		try(func(s *step) { s.after = 0 })
	}
	for _, in := range samples {
		if len(in) < len(st.input) {
			try(func(s *step) { s.input = in })
		}
	}
	for i := range st.dirt {
		try(func(s *step) { s.dirt = slices.Delete(slices.Clone(s.dirt), i, i+1) })
	}
	if len(st.dirt) > 0 {
		try(func(s *step) { s.dirt = nil })
	}
	return all
}
