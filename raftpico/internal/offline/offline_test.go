package offline

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// withoutLinks stands for a file system without hard links.
func withoutLinks(t *testing.T) {
	before := hardLink
	t.Cleanup(func() { hardLink = before })
	hardLink = func(string, string) error { return syscall.EPERM }
}

func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

func holds(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		found[e.Name()] = string(text)
	}
	require.Equal(t, files, found)
}

// A file that gets its name replaces none, and leaves nothing else, whether there are hard links or not.
func TestAPublishedFileReplacesNone(t *testing.T) {
	for _, links := range []bool{true, false} {
		if !links {
			withoutLinks(t)
		}
		dir := t.TempDir()
		part, file := filepath.Join(dir, "part"), filepath.Join(dir, "file")
		write(t, part, "new")
		require.NoError(t, publish(part, file))
		holds(t, dir, map[string]string{"file": "new"})
		write(t, part, "newer")
		require.ErrorIs(t, publish(part, file), os.ErrExist)
		holds(t, dir, map[string]string{"file": "new"})
	}
}

// Where there are no hard links, the old file is copied before the new one takes its place; what an attempt has left that
// was broken off in the middle of that is no copy, and holds nobody up.
func TestTheOldFileIsKeptWithoutHardLinks(t *testing.T) {
	withoutLinks(t)
	dir := t.TempDir()
	own := filepath.Join(dir, "log")
	write(t, own, "old")
	write(t, own+newSuffix, "new")
	write(t, own+keptSuffix+partSuffix, "ol")
	require.NoError(t, free(own, own+keptSuffix))
	require.NoError(t, replace(own, own+keptSuffix))
	holds(t, dir, map[string]string{"log": "new", "log" + keptSuffix: "old"})
	require.ErrorContains(t, free(own, own+keptSuffix), "move it away")
}
