package storage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

// Whatever links lead to the log, they stay links, and the file that they lead to is the log, before and after a
// replacement.
func TestLinksStayLinks(t *testing.T) {
	for _, c := range []struct {
		name  string
		links map[string]string // name to target
		open  string
		file  string // what is the log
		there bool   // it was made before
	}{
		{"a link", map[string]string{"log": "disk/real"}, "log", "disk/real", true},
		{"in full", map[string]string{"log": "ROOT/disk/real"}, "log", "disk/real", true},
		{"to no file yet", map[string]string{"log": "disk/real"}, "log", "disk/real", false},
		{"in full, to no file yet", map[string]string{"log": "ROOT/disk/real"}, "log", "disk/real", false},
		{"a chain", map[string]string{"log": "data/a", "data/a": "../disk/b", "disk/b": "real"}, "log", "disk/real", true},
		{"a chain to no file yet", map[string]string{"log": "data/a", "data/a": "../disk/b", "disk/b": "real"}, "log", "disk/real", false},
		{"a folder", map[string]string{"now": "disk"}, "now/real", "disk/real", true},
		{"a folder and a file", map[string]string{"now": "data", "data/log": "../disk/real"}, "now/log", "disk/real", false},
		{"up from a linked folder", map[string]string{"data/up": "../disk/deep"}, "data/up/../real", "disk/real", true},
		{"up from a linked folder, no file yet", map[string]string{"data/up": "../disk/deep"}, "data/up/../real", "disk/real", false},
		{"a link up from a linked folder", map[string]string{"data/up": "../disk/deep", "log": "data/up/../real"}, "log", "disk/real", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range []string{"data", "disk", "disk/deep"} {
				require.NoError(t, os.Mkdir(filepath.Join(root, dir), 0o700))
			}
			file := filepath.Join(root, c.file)
			if c.there {
				log, _, err := storage.Open(storage.OS, file, "k3x9")
				require.NoError(t, err)
				require.NoError(t, log.Close())
			}
			for name, target := range c.links {
				require.NoError(t, os.Symlink(strings.ReplaceAll(target, "ROOT", root), filepath.Join(root, name)))
			}
			open := root + "/" + c.open // not joined: that would take "link/.." away

			log, _, err := storage.Open(storage.OS, open, "k3x9")
			require.NoError(t, err)
			require.NoError(t, log.Append(founding()))
			require.NoError(t, log.Replace(founding()))
			require.NoError(t, log.Append(story()[2]))
			require.NoError(t, log.Check())
			user, err := log.OpenState()
			require.NoError(t, err)
			require.NoError(t, user.Close())
			for name := range c.links {
				info, err := os.Lstat(filepath.Join(root, name))
				require.NoError(t, err)
				require.Equal(t, os.ModeSymlink, info.Mode().Type(), name)
			}
			info, err := os.Lstat(file)
			require.NoError(t, err)
			require.True(t, info.Mode().IsRegular())
			_, _, err = storage.Open(storage.OS, file, "other")
			require.ErrorIs(t, err, storage.ErrLocked, "one log, whatever it is called")
			size := log.Size()
			require.NoError(t, log.Close())

			log, state, err := storage.Open(storage.OS, file, "other")
			require.NoError(t, err)
			require.Equal(t, "k3x9", state.Header.Instance)
			require.Equal(t, size, log.Size())
			require.NoError(t, log.Close())
		})
	}
}

// A name is good in the working directory in which the log was opened.
func TestLogOutlivesItsWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("d", 0o700))
	log, _, err := storage.Open(storage.OS, "d/log", "k3x9")
	require.NoError(t, err)
	require.NoError(t, os.Chdir("/"))
	require.NoError(t, log.Append(founding()))
	require.NoError(t, log.Check())
	require.NoError(t, log.Replace(founding()))
	require.NoError(t, log.Check())
	require.NoError(t, log.Close())
}

func TestPlaceWhereNoLogCanBeIsRefused(t *testing.T) {
	root := t.TempDir()
	link := func(target, name string) string {
		name = filepath.Join(root, name)
		require.NoError(t, os.Symlink(target, name))
		return name
	}
	link("loop2", "loop1")
	for name, c := range map[string]struct{ file, want string }{
		"a folder":             {root, "it is a folder"},
		"a device":             {os.DevNull, "it is a folder, a device"},
		"a loop":               {link("loop1", "loop2"), "too many links"},
		"a link into nowhere":  {link("nowhere/log", "lost"), "no such file or directory"},
		"a folder of no such":  {filepath.Join(root, "none/log"), "no such file or directory"},
		"a file in a file":     {"/dev/null/log", "not a directory"},
		"a link to itself, up": {link("self/../self", "self"), "too many links"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := storage.Open(storage.OS, c.file, "k3x9")
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, c.file)
		})
	}
}

// The folder can't be written: the first snapshot would find out, and so would each start from then on.
func TestFolderThatCannotBeWrittenIsFoundAtTheStart(t *testing.T) {
	fsys := memfs.New()
	log, _ := open(t, fsys)
	require.NoError(t, log.Append(founding()))
	want := show(t, stateOf(t, log, fsys))
	fsys.Fail(memfs.Open, 2, errDisk)
	_, _, err := storage.Open(fsys, path, "k3x9")
	require.ErrorIs(t, err, errDisk)
	require.ErrorContains(t, err, "no file can be made beside it, as each snapshot must")
	require.Equal(t, want, read(t, fsys))

	fsys.Fail(memfs.Remove, 1, errDisk)
	_, _, err = storage.Open(fsys, path, "k3x9")
	require.ErrorIs(t, err, errDisk)
	require.Equal(t, want, read(t, fsys), "and what was left over is in nobody's way")
}
