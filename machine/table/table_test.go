package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table does what a map does, and clones stay as they were, also clones of clones that go on changing.
func TestTableIsAMap(t *testing.T) {
	type pair struct {
		table *Table[int]
		model map[string]int
	}
	r := rand.New(rand.NewPCG(1, 2))
	pairs := []pair{{new(Table[int]), map[string]int{}}}
	for i := range 60_000 {
		p := pairs[r.IntN(len(pairs))]
		key := fmt.Sprint(r.IntN(3000))
		want, had := p.model[key]
		switch n := r.IntN(100); {
		case n < 50:
			old, ok := p.table.Set(key, i)
			require.Equal(t, []any{want, had}, []any{old, ok})
			p.model[key] = i
		case n < 80:
			old, ok := p.table.Delete(key)
			require.Equal(t, []any{want, had}, []any{old, ok})
			delete(p.model, key)
		default:
			got, ok := p.table.Get(key)
			require.Equal(t, []any{want, had}, []any{got, ok})
		}
		require.Equal(t, len(p.model), p.table.Len())
		require.Equal(t, len(p.model) == 0, p.table.IsZero())
		if i%5000 == 4999 {
			pairs = append(pairs, pair{p.table.Clone(), maps.Clone(p.model)})
		}
	}
	for _, p := range pairs {
		require.Equal(t, p.model, maps.Collect(p.table.All()))
	}
}

// The order of the members depends on the keys alone: not on how the table has grown, shrunk and been split.
func TestOrderDependsOnTheKeysAlone(t *testing.T) {
	var grown, shrunk Table[int]
	for i := range 10_000 {
		shrunk.Set(fmt.Sprint("gone", i), 1)
	}
	for i := range 10_000 {
		shrunk.Delete(fmt.Sprint("gone", i))
	}
	for i := range 1000 {
		grown.Set(fmt.Sprint(i), 0)
		shrunk.Set(fmt.Sprint(999-i), 0)
	}
	require.NotEqual(t, len(grown.directory), len(shrunk.directory))
	var one, other []string
	for key := range grown.All() {
		one = append(one, key)
	}
	for key := range shrunk.All() {
		other = append(other, key)
	}
	require.Len(t, one, 1000)
	require.Equal(t, one, other)
}

// A break ends All at once.
func TestAllEndsEarly(t *testing.T) {
	var table Table[int]
	for i := range 1000 {
		table.Set(fmt.Sprint(i), 0)
	}
	n := 0
	for range table.All() {
		if n++; n == 300 {
			break
		}
	}
	require.Equal(t, 300, n)
}

// Keys that somebody has made to have like hashes stay in one bucket in the end.
func TestLikeHashesDoNotSplitForEver(t *testing.T) {
	var table Table[int]
	b := table.changeable(0)
	for i := range 10 * bucketSize {
		key := fmt.Sprint(i)
		b.add(hash(key), member[int]{headOf(key), key, i})
	}
	b.depth = maxDepth // as if every split so far had been in vain
	table.directory, table.depth = slices.Repeat([]*bucket[int]{b}, 1<<maxDepth), maxDepth
	table.Set("new", 1)
	require.Len(t, table.directory, 1<<maxDepth)
	got, ok := table.Get("7")
	require.True(t, ok)
	require.Equal(t, 7, got)
}

// Keys are told apart though their hashes are alike and their first bytes the same, or one has zeros where the other ends.
func TestKeysWithLikeHeads(t *testing.T) {
	keys := []string{"", "\x00", "\x00\x00", "a", "a\x00", "a\x00\x00\x00\x00\x00\x00\x00", "a\x00\x00\x00\x00\x00\x00\x00\x00", "abcdefg", "abcdefgh", "abcdefg\x00",
		"abcdefgh\x00", "abcdefghi", "abcdefghj", "abcdefghij", "bbcdefgh", "abcdefgi"}
	var b bucket[int]
	for i, key := range keys {
		require.Equal(t, -1, b.find(5, key), "%q", key)
		b.add(5, member[int]{headOf(key), key, i})
	}
	for i, key := range keys {
		require.Equal(t, i, b.find(5, key), "%q", key)
	}
}

// A bucket is a map, whatever the hashes, below the number of members that its slots take and above it.
func TestBucketsAreMaps(t *testing.T) {
	for _, hashes := range []uint64{1, 2, 7, 100, 1 << 20} {
		for _, most := range []int{3, 30, bucketSize, 2 * bucketSize} {
			rng := rand.New(rand.NewPCG(hashes, uint64(most)))
			hash := func(key string) uint64 { return hash(key) % hashes * 0x9e3779b97f4a7c15 }
			var b bucket[int]
			want := map[string]int{}
			for round := range 3000 {
				if round%1000 == 500 {
					b = *b.clone(1)
				}
				n := rng.IntN(most * 4 / 3)
				key := []string{"", "like head"}[n%2] + fmt.Sprint(n)
				i := b.find(hash(key), key)
				_, had := want[key]
				require.Equal(t, had, i >= 0)
				switch {
				case had && rng.IntN(2) == 0:
					b.remove(i, hash)
					delete(want, key)
				case had:
					b.members[i].value = round
					want[key] = round
				case len(want) < most:
					b.add(hash(key), member[int]{headOf(key), key, round})
					want[key] = round
				}
				require.Len(t, b.members, len(want))
			}
			for key, value := range want {
				i := b.find(hash(key), key)
				require.GreaterOrEqual(t, i, 0)
				require.Equal(t, member[int]{headOf(key), key, value}, b.members[i])
			}
		}
	}
}

// Clones are read, and changed, on other goroutines while the table changes: the race detector watches.
func TestClonesAreTheirOwn(t *testing.T) {
	var table Table[int]
	var done sync.WaitGroup
	for round := range 10 {
		for i := range 500 {
			table.Set(fmt.Sprint(i), round)
		}
		clone := table.Clone()
		done.Go(func() {
			n := 0
			for key, value := range clone.All() {
				n += value - round + len(strings.TrimLeft(key, "0123456789"))
			}
			clone.Set("own", 1)
			clone.Delete("7")
			if n != 0 || clone.Len() != 500 {
				t.Error("a clone has changed")
			}
		})
		table.Delete("8")
	}
	done.Wait()
	_, had := table.Get("own")
	require.False(t, had)
}

// A key of a value of 32 bytes takes some 90 bytes beside its text, and 30 more where it has an order.
func TestMemoryOfAKey(t *testing.T) {
	const n = 50_000
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	inUse := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	var table Table[[4]int]
	var sorted Sorted[[4]int]
	before := inUse()
	for _, key := range keys {
		table.Set(key, [4]int{})
	}
	plain := (inUse() - before) / n
	before = inUse()
	for _, key := range keys {
		sorted.Set(key, [4]int{})
	}
	ordered := (inUse() - before) / n
	require.Less(t, plain, 115)
	require.Less(t, ordered, 150)
	runtime.KeepAlive([]any{keys, &table, &sorted})
}

// What the event loop waits for: the capture of a million keys, and the first change of a part behind it.
func BenchmarkClone(b *testing.B) {
	var table Table[int]
	for i := range 1_000_000 {
		table.Set(fmt.Sprint(i), 0)
	}
	b.Run("clone", func(b *testing.B) {
		for b.Loop() {
			table.Clone()
		}
	})
	b.Run("change", func(b *testing.B) {
		for b.Loop() {
			table.clones++ // as Clone does
			table.Set("7", 0)
		}
	})
}
