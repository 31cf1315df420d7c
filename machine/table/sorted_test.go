package table

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-json/jsontext"
	"github.com/stretchr/testify/require"
)

// A Sorted does what a map with sorted keys does, while it grows, shrinks and grows again.
func TestSortedIsASortedMap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var sorted Sorted[int]
	model := map[string]int{}
	for i := range 40_000 {
		key := strings.Repeat("k", r.IntN(3)) + fmt.Sprint(r.IntN(4000))
		if r.IntN(200) == 0 {
			key = ""
		}
		want, had := model[key]
		growing := i/10_000%2 == 0
		if n := r.IntN(10); n < 8 == growing {
			old, ok := sorted.Set(key, i)
			require.Equal(t, []any{want, had}, []any{old, ok})
			model[key] = i
		} else {
			old, ok := sorted.Delete(key)
			require.Equal(t, []any{want, had}, []any{old, ok})
			delete(model, key)
		}
		got, ok := sorted.Get(key)
		want, had = model[key]
		require.Equal(t, []any{want, had}, []any{got, ok})
		if i%500 == 0 {
			require.Equal(t, len(model), sorted.Len())
			checkIndex(t, &sorted.keys)
			checkOrder(t, &sorted, model, r)
		}
	}
}

// Whichever way keys go, what is left stays together.
func TestShortPartsAreJoined(t *testing.T) {
	const n = 1000
	for name, next := range map[string]func(i int) int{
		"first":   func(i int) int { return i },
		"last":    func(i int) int { return n - 1 - i },
		"between": func(i int) int { return i * 7 % n },
	} {
		var sorted Sorted[int]
		for i := range n {
			sorted.Set(fmt.Sprintf("%03d", i), i)
		}
		for i := range n {
			_, had := sorted.Delete(fmt.Sprintf("%03d", next(i)))
			require.True(t, had, name)
			if i%10 == 0 {
				checkIndex(t, &sorted.keys)
			}
		}
		require.Empty(t, sorted.keys.parts, name)
	}
}

// checkIndex checks the invariants.
func checkIndex(t *testing.T, x *index) {
	t.Helper()
	last, first := "", true
	for i, p := range x.parts {
		require.NotEmpty(t, p.keys)
		require.LessOrEqual(t, len(p.keys), partSize)
		require.Equal(t, p.keys[0], p.first)
		if i > 0 {
			require.Greater(t, len(p.keys)+len(x.parts[i-1].keys), partSize/2, "small parts are joined")
		}
		for _, key := range p.keys {
			require.True(t, first || last < key)
			last, first = key, false
		}
	}
}

// checkOrder compares what comes from some key on, and from the first.
func checkOrder(t *testing.T, sorted *Sorted[int], model map[string]int, r *rand.Rand) {
	t.Helper()
	all := slices.Sorted(maps.Keys(model))
	require.Equal(t, model, maps.Collect(sorted.All()))
	for _, from := range []string{"", "zz", "k", fmt.Sprint("k", r.IntN(4000)), fmt.Sprint(r.IntN(4000))} {
		at, _ := slices.BinarySearch(all, from)
		require.True(t, slices.Equal(all[at:], slices.Collect(sorted.KeysFrom(from))), from)
		n := 0
		for key, value := range sorted.From(from) {
			require.Equal(t, all[at+n], key)
			require.Equal(t, model[key], value)
			if n++; n == 200 {
				break
			}
		}
		require.Equal(t, min(200, len(all[at:])), n)
	}
}

func TestFromAtItsEdges(t *testing.T) {
	var sorted Sorted[int]
	require.Empty(t, slices.Collect(sorted.KeysFrom("")))
	for _, key := range []string{"", "a", "a\x00", "ab", "b"} {
		sorted.Set(key, 0)
	}
	for from, want := range map[string][]string{
		"":           {"", "a", "a\x00", "ab", "b"},
		"\x00":       {"a", "a\x00", "ab", "b"},
		"a":          {"a", "a\x00", "ab", "b"},
		"a\x00":      {"a\x00", "ab", "b"},
		"aa":         {"ab", "b"},
		"b\x00":      nil,
		"\U0010ffff": nil,
	} {
		require.Equal(t, want, slices.Collect(sorted.KeysFrom(from)), "%q", from)
	}
}

// The snapshot of a Sorted is that of a Table, and each reads the other's.
func TestSortedIsEncodedAsATable(t *testing.T) {
	var table Table[int]
	var sorted Sorted[int]
	for i := range 1000 {
		table.Set(fmt.Sprint(i), i)
		sorted.Set(fmt.Sprint(999-i), 999-i)
	}
	text, err := table.MarshalJSON()
	require.NoError(t, err)
	same, err := sorted.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(text), string(same))
	for name, load := range map[string]func(*Sorted[int]) error{
		"UnmarshalJSON": func(s *Sorted[int]) error { return s.UnmarshalJSON(text) },
		"UnmarshalJSONFrom": func(s *Sorted[int]) error {
			return s.UnmarshalJSONFrom(jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true)))
		},
		"Decode": func(s *Sorted[int]) error {
			*s = Sorted[int]{}
			return s.Decode(jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true)), nil)
		},
	} {
		var loaded Sorted[int]
		loaded.Set("old", 1)
		require.NoError(t, load(&loaded), name)
		checkIndex(t, &loaded.keys)
		require.Equal(t, slices.Collect(sorted.KeysFrom("")), slices.Collect(loaded.KeysFrom("")), name)
		loaded.Set("1a", 1)
		require.Equal(t, []string{"998", "999"}, slices.Collect(loaded.KeysFrom("998")))
		require.Equal(t, []string{"199", "1a", "2"}, slices.Collect(loaded.KeysFrom("199"))[:3])
	}
	require.Error(t, sorted.UnmarshalJSON([]byte(`{"a":"x"}`)))
	require.Len(t, slices.Collect(sorted.KeysFrom("")), 1000)
}

// What the event loop waits for: a page of a million keys, and the change of the order by a key that comes and goes.
func BenchmarkSorted(b *testing.B) {
	var sorted Sorted[int]
	for i := range 1_000_000 {
		sorted.Set(fmt.Sprint(i), 0)
	}
	b.Run("page of 1000", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			n := 0
			for range sorted.KeysFrom(fmt.Sprint(i * 7919 % 1_000_000)) {
				if n++; n == 1000 {
					break
				}
			}
		}
	})
	b.Run("set and delete", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			key := fmt.Sprint(i*7919%1_000_000, "new")
			sorted.Set(key, 0)
			sorted.Delete(key)
		}
	})
}
