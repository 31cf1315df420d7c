package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWritesGoOnWithoutTheLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	programs := t.TempDir()
	s, err := find("raftpico")
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context(), programs))
	gap, err := failover(t.Context(), s, 3, 6, t.TempDir(), programs)
	require.NoError(t, err)
	require.Positive(t, gap)
	_, err = failover(t.Context(), s, 2, 6, t.TempDir(), programs) // one of two has no quorum
	require.ErrorContains(t, err, "no write was acknowledged any more")
}

func TestFailoverSaysWhatIsWrong(t *testing.T) {
	require.ErrorContains(t, measureFailover(t.Context(), []string{"-systems", "nobody"}), `no system "nobody"`)
	require.ErrorContains(t, measureFailover(t.Context(), []string{"-systems", "hashicorp"}), "no processes to kill")
	require.Error(t, measureFailover(t.Context(), []string{"-trials", "0"}))
}
