package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

// A file that was deleted, moved or replaced under a log is noticed, and its content is not lost with its last name.
func TestLogThatLostItsNameIsNoticed(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, file string){
		"deleted":  func(t *testing.T, file string) { require.NoError(t, os.Remove(file)) },
		"replaced": func(t *testing.T, file string) { require.NoError(t, os.Rename(file+".other", file)) },
		"moved": func(t *testing.T, file string) {
			require.NoError(t, os.Rename(file, file+".old"))
		},
		"its folder deleted": func(t *testing.T, file string) { require.NoError(t, os.RemoveAll(filepath.Dir(file))) },
		"its folder moved": func(t *testing.T, file string) {
			require.NoError(t, os.Rename(filepath.Dir(file), filepath.Dir(file)+"2"))
		},
		"its folder a file now": func(t *testing.T, file string) {
			require.NoError(t, os.RemoveAll(filepath.Dir(file)))
			require.NoError(t, os.WriteFile(filepath.Dir(file), nil, 0o600))
		},
		"cut to nothing": func(t *testing.T, file string) { require.NoError(t, os.Truncate(file, 0)) },
		"written to": func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
			require.NoError(t, err)
			_, err = f.WriteString("somebody's")
			require.NoError(t, errors.Join(err, f.Close()))
		},
		"its link led elsewhere": func(t *testing.T, file string) {
			require.NoError(t, os.Remove(filepath.Join(filepath.Dir(file), "../link")))
			require.NoError(t, os.Symlink(file+".other", filepath.Join(filepath.Dir(file), "../link")))
		},
	} {
		for _, then := range []string{"check", "replace"} {
			t.Run(fmt.Sprint(name, " ", then), func(t *testing.T) {
				root := t.TempDir()
				file, link := filepath.Join(root, "d/log"), filepath.Join(root, "link")
				require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
				require.NoError(t, os.WriteFile(file+".other", []byte("somebody's"), 0o600))
				require.NoError(t, os.Symlink(file, link))
				log, _, err := storage.Open(storage.OS, link, "k3x9")
				require.NoError(t, err)
				require.NoError(t, log.Append(founding()))
				require.NoError(t, log.Check())
				r, err := log.BeginReplace()
				require.NoError(t, err)
				for _, record := range []int{0, 1} {
					require.NoError(t, r.Write(story()[record]))
				}
				before, err := os.ReadFile(file)
				require.NoError(t, err)

				change(t, file)
				if then == "check" {
					err = log.Check()
				} else {
					err = commit(log, r)
				}
				switch name {
				case "cut to nothing":
					require.ErrorContains(t, err, fmt.Sprintf("was changed by somebody else, from %d to 0 bytes, while it was in use", len(before)))
				case "written to":
					require.ErrorContains(t, err, fmt.Sprintf("was changed by somebody else, from %d to %d bytes, while it was in use", len(before), len(before)+10))
				default:
					require.ErrorContains(t, err, "was deleted, moved or replaced while it was in use")
				}
				require.ErrorContains(t, err, link)
				require.Error(t, log.Err())
				require.Equal(t, log.Err(), log.Append(story()[2]), "nothing more is promised")
				if rescued, err := os.ReadFile(file + ".rescued"); err == nil {
					require.Equal(t, string(before), string(rescued))
					require.Contains(t, log.Err().Error(), file+".rescued")
				} else {
					require.True(t, strings.Contains(name, "folder") || name == "cut to nothing", name)
					require.ErrorContains(t, log.Err(), "could not be saved")
				}
				if name == "replaced" {
					now, err := os.ReadFile(file)
					require.NoError(t, err)
					require.Equal(t, "somebody's", string(now))
				}
				require.NoError(t, log.Close())
			})
		}
	}
}

// Whatever fails while the content is saved, and wherever the power goes: what is there then is the whole log, or none.
func TestHalfOfALogIsNeverSaved(t *testing.T) {
	const saved = path + ".rescued"
	lost := func() (*memfs.FS, *storage.Log, string) {
		fsys := memfs.New()
		log := aged(t, fsys)
		require.NoError(t, log.Append(late(0)))
		content, err := fsys.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, fsys.Remove(path))
		return fsys, log, string(content)
	}
	for name, order := range map[string]func(*memfs.FS){
		"write":        func(f *memfs.FS) { f.Fail(memfs.Write, 1, errDisk) },
		"header":       func(f *memfs.FS) { f.Fail(memfs.Write, 2, errDisk) },
		"sync":         func(f *memfs.FS) { f.Fail(memfs.Sync, 1, errDisk) },
		"header, sync": func(f *memfs.FS) { f.Fail(memfs.Sync, 2, errDisk) },
		"read":         func(f *memfs.FS) { f.Fail(memfs.Read, 3, errDisk) },
		"full":         func(f *memfs.FS) { f.Space(1000) },
	} {
		fsys, log, _ := lost()
		order(fsys)
		require.ErrorContains(t, log.Check(), "could not be saved", name)
		_, err := fsys.ReadFile(saved)
		require.Error(t, err, name)
	}
	whole := 0
	for at, over := 0, false; !over; at++ {
		for seed := range uint64(30) {
			fsys, log, content := lost()
			require.NoError(t, fsys.SyncDir("/data"))
			fsys.PowerOff(at)
			err := log.Check()
			require.Error(t, err)
			over = !errors.Is(err, memfs.ErrPowerOff)
			fsys.Crash(chance(seed))
			if got, err := fsys.ReadFile(saved); err == nil && string(got) == content {
				whole++
				continue
			}
			require.False(t, over, "it was told that it is saved")
			log, state, err := storage.Open(fsys, saved, "other")
			if err == nil {
				require.Equal(t, "other", state.Header.Instance, "change %d, seed %d", at, seed)
				require.NoError(t, log.Close())
			}
		}
	}
	require.Greater(t, whole, 30)
}
