//go:build unix

package torture

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// number is one of 128 bits: an id, a ULID, a handle or a version.
type number struct{ high, low uint64 }

func num(n uint64) number { return number{low: n} }

func (n number) compare(m number) int {
	return cmp.Or(cmp.Compare(n.high, m.high), cmp.Compare(n.low, m.low))
}

func (n number) String() string {
	if n.high == 0 {
		return fmt.Sprint(n.low)
	}
	return fmt.Sprintf("%x:%x", n.high, n.low)
}

// given is numbers that somebody was given: from first to last. He asked at call, and had them at ret.
type given struct {
	first, last number
	call, ret   int64
}

func (g given) String() string {
	return fmt.Sprintf("%v to %v, asked for at %v, given at %v", g.first, g.last, time.Duration(g.call), time.Duration(g.ret))
}

// inOrder checks that no number was given twice, and that those which somebody had before others were asked for are
// smaller. It leaves all sorted. NB: In the order of the numbers it looks from the end: none may have been there, of those that are
// greater, when this one was asked for. So it needs no pairs.
func inOrder(all []given) error {
	slices.SortFunc(all, func(a, b given) int { return a.first.compare(b.first) })
	earliest := given{ret: math.MaxInt64} // of those behind
	for i, g := range slices.Backward(all) {
		switch {
		case g.first.compare(g.last) > 0:
			return fmt.Errorf("%v: the last one comes before the first", g)
		case i+1 < len(all) && g.last.compare(all[i+1].first) >= 0:
			return fmt.Errorf("given twice: %v; %v", g, all[i+1])
		case earliest.ret < g.call:
			return fmt.Errorf("time runs backwards: %v; only then %v", earliest, g)
		}
		if g.ret < earliest.ret {
			earliest = g
		}
	}
	return nil
}

// TestInOrder holds the check to histories that it must refuse.
func TestInOrder(t *testing.T) {
	one := func(n uint64, call, ret int64) given { return given{num(n), num(n), call, ret} }
	block := func(first, last uint64, call, ret int64) given { return given{num(first), num(last), call, ret} }
	for name, test := range map[string]struct {
		all   []given
		wrong string
	}{
		"nothing":                     {nil, ""},
		"one after the other":         {[]given{one(1, 0, 1), one(2, 2, 3), block(3, 9, 4, 5), one(10, 6, 7)}, ""},
		"at the same time":            {[]given{one(2, 0, 5), one(1, 1, 6), one(3, 2, 3)}, ""},
		"with gaps":                   {[]given{one(5, 0, 1), one(9, 2, 3)}, ""},
		"twice":                       {[]given{one(1, 0, 1), one(2, 2, 3), one(2, 2, 3)}, "given twice"},
		"twice, in blocks":            {[]given{block(1, 10, 0, 9), block(10, 19, 0, 9)}, "given twice"},
		"a block within another":      {[]given{block(1, 10, 0, 9), block(3, 4, 0, 9)}, "given twice"},
		"backwards":                   {[]given{one(2, 0, 1), one(1, 2, 3)}, "backwards"},
		"backwards, others between":   {[]given{one(9, 0, 1), one(4, 0, 8), one(7, 0, 8), one(3, 2, 3), one(8, 0, 8)}, "backwards"},
		"backwards, from end to end":  {[]given{one(5, 0, 10), one(6, 0, 10), one(7, 0, 3), one(1, 4, 10)}, "backwards"},
		"the upper half counts":       {[]given{{number{2, 0}, number{2, 0}, 0, 1}, {number{1, 9}, number{1, 9}, 2, 3}}, "backwards"},
		"a block that is none":        {[]given{block(3, 2, 0, 1)}, "before the first"},
		"it may be given as it comes": {[]given{one(1, 0, 2), one(2, 2, 4), one(3, 4, 5)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := inOrder(test.all)
			if test.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.wrong)
			}
		})
	}
}
