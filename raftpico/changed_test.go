package raftpico_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// Each file of a cluster whose members were added, promoted, demoted and removed can be carried out again up to any entry, and
// makes a new cluster with the same state, also that of a server that was removed, or learns for good.
func TestEachFileOfAClusterThatChangedIsReplayedAndRecovered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers := make([]*raftpico.Server, 5)
	file := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = file(i) })
	}
	joinAll(t, servers[:3], raftpico.Timeouts{})
	a, demoted, removed, promoted, late := servers[0], servers[1], servers[2], servers[3], servers[4]
	done := func(change func() error) {
		t.Helper()
		waitFor(t, func() bool { // asked again, it may be so already
			err := change()
			return err == nil || errors.Is(err, raftpico.ErrServerExists) || errors.Is(err, raftpico.ErrNotMember)
		})
		waitFor(t, func() bool { _, err := a.Apply(t.Context(), machine.Command, "x"); return err == nil })
	}
	done(func() error { _, err := a.AddNonvoter(t.Context(), promoted.Addr()); return err })
	done(func() error { _, err := a.AddServer(t.Context(), late.Addr()); return err })
	done(func() error { _, err := a.SetVoter(t.Context(), promoted.Addr(), true); return err })
	done(func() error { _, err := a.SetVoter(t.Context(), demoted.Addr(), false); return err })
	done(func() error { _, err := a.RemoveServer(t.Context(), removed.Addr()); return err })
	want, err := raftpico.Query[[]string](t.Context(), a, "")
	require.NoError(t, err)
	for _, s := range servers { // a learner may not have learned the state yet
		if s != removed {
			waitFor(t, func() bool {
				got, err := raftpico.LocalQuery[[]string](t.Context(), s, "")
				return err == nil && len(got) == len(want)
			})
		}
	}
	for _, s := range servers {
		require.NoError(t, s.Close())
	}
	for i := range servers {
		replayed := func(upTo uint64) (raftpico.ReplayInfo, []string) {
			m := &diary{}
			info, err := raftpico.Replay(file(i), machine.JSON(m), upTo)
			require.NoError(t, err, "server %d, entry %d", i, upTo)
			require.Equal(t, fmt.Sprint(want[:len(m.Lines)]), fmt.Sprint(m.Lines))
			return info, m.Lines
		}
		info, _ := replayed(0)
		for upTo := info.Snapshot; upTo <= info.Last; upTo++ {
			at, _ := replayed(upTo)
			require.Equal(t, upTo, at.Index)
		}
		_, all := replayed(info.Last)
		addr := ""
		if servers[i] == removed {
			_, err := raftpico.Recover(file(i), "")
			require.ErrorContains(t, err, "no member any more")
			addr = "127.0.0.1:4990" // nobody listens there
		}
		made, err := raftpico.Recover(file(i), addr)
		require.NoError(t, err)
		require.Equal(t, info.Last, made.Last)
		_, same := replayed(info.Last)
		require.Equal(t, all, same)
		s := startServer(t, machine.JSON(&diary{}), func(o *raftpico.Options) { o.File = file(i) })
		require.NoError(t, s.Ready(t.Context()))
		got, err := raftpico.Query[[]string](t.Context(), s, "")
		require.NoError(t, err)
		require.Equal(t, all, got)
		require.NoError(t, s.Close())
	}
}
