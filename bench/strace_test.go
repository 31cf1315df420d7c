package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStraceCountsSyncsAndMakesThemLonger(t *testing.T) {
	if err := exec.Command("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync", "true").Run(); err != nil || testing.Short() {
		t.Skip("starts a cluster under strace: ", err)
	}
	dir := t.TempDir()
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		work := task{System: "raftpico-local", Servers: 3, Dir: filepath.Join(dir, "run"), Strace: &Strace{Delay: delay, Dir: filepath.Join(dir, "strace")},
			Loads: []Load{{Kind: Put, Window: 1, ValueSize: 16, Connections: 3, Keys: 10, Warm: 100 * time.Millisecond, Time: time.Second}}}
		results, err := work.run(t.Context())
		require.NoError(t, err)
		require.Len(t, results, 1)
		r := results[0]
		require.Empty(t, r.Failed)
		require.InDelta(t, 3, r.Syncs, 0.5, "one for each server")
		require.GreaterOrEqual(t, r.P50, delay)
	}
}
