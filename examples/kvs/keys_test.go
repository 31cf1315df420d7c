package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
)

// Pages are what a sorted list of all keys has, whatever comes and goes, also after a restart.
func TestPagesOfKeys(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s store
	want := map[string]bool{}
	check := func() {
		t.Helper()
		sorted := slices.Sorted(maps.Keys(want))
		for range 100 {
			p := page{Prefix: strings.Repeat("k", random.IntN(2)) + strings.Repeat("é", random.IntN(2)), Limit: 1 + random.IntN(50)}
			if random.IntN(2) == 0 {
				p.After = fmt.Sprint("k", random.IntN(3000))
			}
			var full keyPage
			for _, key := range sorted {
				switch {
				case key <= p.After || !strings.HasPrefix(key, p.Prefix):
				case len(full.Keys) < p.Limit:
					full.Keys = append(full.Keys, key)
				default:
					full.More = true
				}
			}
			got := s.page(p)
			require.True(t, slices.Equal(full.Keys, got.Keys), "%v: %v %v", p, full.Keys, got.Keys)
			require.Equal(t, full.More, got.More, p)
		}
	}
	for range 3 {
		for range 3000 {
			key := []string{"k", "é", "ké", ""}[random.IntN(4)] + fmt.Sprint(random.IntN(3000))
			if random.IntN(3) > 0 {
				s.put(key, json.RawMessage("0"))
				want[key] = true
			} else {
				s.delete(key)
				delete(want, key)
			}
		}
		check()
		state, err := s.MarshalJSON()
		require.NoError(t, err)
		require.NoError(t, s.UnmarshalJSON(state))
		check()
	}
}

// A page of long keys is full before it has as many as it may.
func TestPagesAreBoundedInBytes(t *testing.T) {
	var s store
	for i := range 10 {
		s.put(fmt.Sprint(i)+strings.Repeat("x", mostKeyBytes/4), json.RawMessage("0"))
	}
	got := s.page(page{Limit: 10})
	require.Len(t, got.Keys, 4)
	require.True(t, got.More)
	got = s.page(page{Limit: 10, After: got.Keys[3]})
	require.Len(t, got.Keys, 4)
	got = s.page(page{Limit: 10, After: got.Keys[3]})
	require.Len(t, got.Keys, 2)
	require.False(t, got.More)
}

// BenchmarkKeys is what the event loop waits for when a page of a million keys is asked for.
func BenchmarkKeys(b *testing.B) {
	var s store
	for i := range 1_000_000 {
		s.put(fmt.Sprintf("user/%07d", i), json.RawMessage("0"))
	}
	for _, limit := range []int{1, someKeys, mostKeys} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				require.Len(b, s.page(page{"user/", fmt.Sprintf("user/%07d", i*7919%900_000), limit}).Keys, limit)
			}
		})
	}
}
