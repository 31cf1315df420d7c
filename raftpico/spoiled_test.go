package raftpico_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
)

// flip changes one bit of a file, in the first place where it holds what.
func flip(t *testing.T, file, what string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	at := bytes.Index(content, []byte(what))
	require.Positive(t, at)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{content[at] ^ 1}, int64(at))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestSpoiledSnapshotIsMadeAnew: a server whose disk has lost a bit of its snapshot still has the state in memory. Nobody gets the
// spoiled one, whoever waits for it gets a new one, and the file is whole again.
func TestSpoiledSnapshotIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, where := range []struct{ name, text string }{
		{"in the state, which is found when it has been read", `xxxx"`},
		{"before the state, which is found when it is opened", `"last_included"`},
	} {
		t.Run(where.name, func(t *testing.T) {
			var w wires
			a := startArchive(t, w.options)
			_, err := a.CreateCluster(t.Context(), calm)
			require.NoError(t, err)
			a.fill(t, 20, 256<<10) // 5 MB
			b := startArchive(t, nil)
			g := newGate(t)
			w.stopAt("Snapshot", 1, g)
			_, err = a.AddServer(t.Context(), b.Addr())
			require.NoError(t, err)
			g.await(t)
			w.setCut(true)
			flip(t, a.opts.File, where.text)
			g.open()
			w.setCut(false)
			await(t, func() bool { return voters(t, b.Server) == 2 })
			sum := a.sum(t)
			out, err := b.Apply(t.Context(), machine.Query, "sum")
			require.NoError(t, err)
			require.Equal(t, sum, string(out))
			a.restart(t)
			await(t, func() bool { return a.sum(t) == sum })
		})
	}
}
