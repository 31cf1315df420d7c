//go:build unix

package torture

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sequence is what clients know of a sequence of numbers, from 1 on.
type sequence struct {
	name  string
	given []given
	lost  []lost // requests that nobody knows the outcome of
	looks []look
}

// lost is n numbers that were asked for and may have been given to nobody.
type lost struct {
	n    uint64
	call int64
}

// look is an answer to the question for the next number.
type look struct {
	next      uint64
	call, ret int64
}

func (l look) String() string {
	return fmt.Sprintf("%d is next, asked at %v, answered at %v", l.next, time.Duration(l.call), time.Duration(l.ret))
}

// judge says what is wrong. Its numbers are given once and grow, none is left out but those that may have been given to
// nobody, and who asks for the next one sees all that was given before.
func (s *sequence) judge() error {
	if err := inOrder(s.given); err != nil {
		return err
	}
	if err := s.gaps(); err != nil {
		return err
	}
	return s.looked()
}

// gaps finds numbers that nobody can have been given: below a block there is not more missing than was asked for in vain before the
// block came.
func (s *sequence) gaps() error {
	slices.SortFunc(s.lost, func(a, b lost) int { return int(a.call - b.call) })
	missing, expected := uint64(0), uint64(1)
	latest := int64(0) // when the block came, or one below
	room, asked := uint64(0), 0
	for _, g := range s.given {
		missing += g.first.low - expected
		expected = g.last.low + 1
		for latest = max(latest, g.ret); asked < len(s.lost) && s.lost[asked].call < latest; asked++ {
			room += s.lost[asked].n
		}
		if missing > room {
			return fmt.Errorf("%d numbers are missing below this block, and %d at most may have been given to nobody: %v", missing, room, g)
		}
	}
	return nil
}

// looked compares the looks with the blocks: those below must have been asked for, and those above can't have come yet.
func (s *sequence) looked() error {
	n := len(s.given)
	soonest, latest := make([]int64, n+1), make([]int64, n+1) // ret of the blocks from here on, call of those up to here
	soonest[n], latest[0] = math.MaxInt64, math.MinInt64
	for i := range n {
		latest[i+1] = max(latest[i], s.given[i].call)
		soonest[n-1-i] = min(soonest[n-i], s.given[n-1-i].ret)
	}
	for _, l := range s.looks {
		at, _ := slices.BinarySearchFunc(s.given, num(l.next), func(g given, next number) int { return g.first.compare(next) })
		switch {
		case at > 0 && s.given[at-1].last.compare(num(l.next)) >= 0:
			return fmt.Errorf("in the midst of a block: %v; %v", l, s.given[at-1])
		case soonest[at] < l.call:
			return fmt.Errorf("stale: %v, but a later number was given at %v", l, time.Duration(soonest[at]))
		case latest[at] > l.ret:
			return fmt.Errorf("from the future: %v, but an earlier number was asked for at %v", l, time.Duration(latest[at]))
		}
	}
	slices.SortFunc(s.looks, func(a, b look) int { return int(a.call - b.call) })
	byEnd := slices.SortedFunc(slices.Values(s.looks), func(a, b look) int { return int(a.ret - b.ret) })
	most, over := look{}, 0
	for _, l := range s.looks {
		for ; byEnd[over].ret < l.call; over++ {
			if byEnd[over].next > most.next {
				most = byEnd[over]
			}
		}
		if l.next < most.next {
			return fmt.Errorf("stale: %v; before that %v", l, most)
		}
	}
	return nil
}

// TestSequence holds the judge of sequences to histories that it must refuse.
func TestSequence(t *testing.T) {
	block := func(first, last uint64, call, ret int64) given { return given{num(first), num(last), call, ret} }
	for name, test := range map[string]struct {
		sequence
		wrong string
	}{
		"without a gap":       {sequence{given: []given{block(1, 10, 0, 1), block(11, 11, 2, 3)}}, ""},
		"it begins at 2":      {sequence{given: []given{block(2, 10, 0, 1)}}, "missing"},
		"a gap":               {sequence{given: []given{block(1, 10, 0, 1), block(12, 20, 2, 3)}}, "missing"},
		"a gap of a lost one": {sequence{given: []given{block(1, 10, 0, 1), block(12, 20, 2, 3)}, lost: []lost{{1, 0}}}, ""},
		"a gap that is too large for the lost one": {
			sequence{given: []given{block(1, 10, 0, 1), block(13, 20, 2, 3)}, lost: []lost{{1, 0}}}, "missing",
		},
		"a gap for two": {sequence{given: []given{block(1, 10, 0, 1), block(14, 20, 2, 3)}, lost: []lost{{1, 0}, {2, 0}}}, ""},
		"a lost one that was sent too late": {
			sequence{given: []given{block(1, 10, 0, 1), block(12, 20, 2, 3)}, lost: []lost{{5, 4}}}, "missing",
		},
		"two gaps for one lost one": {
			sequence{given: []given{block(2, 10, 0, 9), block(12, 20, 2, 9)}, lost: []lost{{1, 0}}}, "missing",
		},
		"a number given twice": {sequence{given: []given{block(1, 10, 0, 9), block(10, 20, 2, 9)}}, "given twice"},

		"looks": {sequence{given: []given{block(1, 10, 2, 3), block(11, 20, 4, 5)}, looks: []look{{1, 0, 1}, {11, 3, 4}, {21, 4, 5}, {21, 6, 7}}}, ""},
		"a look at the same time": {
			sequence{given: []given{block(1, 10, 0, 9)}, looks: []look{{1, 1, 2}, {11, 3, 4}}}, "",
		},
		"a look that goes back": {
			sequence{given: []given{block(1, 10, 0, 9)}, looks: []look{{11, 1, 2}, {1, 3, 4}}}, "stale",
		},
		"a look that goes back, beside a long one": {
			sequence{given: []given{block(1, 10, 0, 9)}, looks: []look{{11, 1, 2}, {1, 3, 4}, {11, 0, 9}}}, "stale",
		},
		"a stale look":           {sequence{given: []given{block(1, 10, 0, 1)}, looks: []look{{1, 2, 3}}}, "stale"},
		"a look from the future": {sequence{given: []given{block(1, 10, 4, 5)}, looks: []look{{11, 2, 3}}}, "future"},
		"a look into a block":    {sequence{given: []given{block(1, 10, 0, 9)}, looks: []look{{5, 1, 2}}}, "midst"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.judge()
			if test.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.wrong)
			}
		})
	}
}
