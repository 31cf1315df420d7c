package raftpico_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// A server goes on in a file that nobody would find again; it must not acknowledge anything more into it for long.
func TestServerWhoseFileIsGoneFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	start := func(file string) *raftpico.Server {
		return startServer(t, machine.JSON(&anything{}), func(o *raftpico.Options) { o.File = file })
	}
	s := start(file)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = s.Apply(t.Context(), machine.Command, "kept")
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	require.ErrorContains(t, s.Wait(), "was deleted, moved or replaced while it was in use. The content is saved as "+file+".rescued")

	s = start(file + ".rescued")
	_, err = s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.ErrorIs(t, err, raftpico.ErrClusterExists, "it is what the server was")
	require.NoError(t, s.Close())
}

func TestFileMayBeALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "disk"), 0o700))
	link := filepath.Join(dir, "log")
	require.NoError(t, os.Symlink("disk/log", link))
	s := startServer(t, machine.JSON(&anything{}), func(o *raftpico.Options) { o.File = link })
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = s.TakeSnapshot(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.Equal(t, os.ModeSymlink, info.Mode().Type())
	report, err := raftpico.InspectLog(filepath.Join(dir, "disk/log"), nil)
	require.NoError(t, err)
	require.NoError(t, report.Refused)
	require.Positive(t, report.Snapshot)
}
