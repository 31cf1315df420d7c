package storage_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
)

// In a mount namespace of its own, where a file is bound over itself, as containers do.
func TestFileThatIsAMountPointIsRefused(t *testing.T) {
	if file := os.Getenv("STORAGE_MOUNTED"); file != "" {
		require.NoError(t, syscall.Mount(file, file, "", syscall.MS_BIND, ""))
		defer syscall.Unmount(file, syscall.MNT_DETACH)
		before, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range []string{file, filepath.Join(filepath.Dir(file), "link")} {
			_, _, err = storage.Open(storage.OS, name, "k3x9")
			require.ErrorContains(t, err, "is mounted as a single file, as containers do")
			require.ErrorContains(t, err, "mount its folder instead")
			require.ErrorContains(t, err, file)
		}
		after, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, before, after)
		dir := filepath.Dir(file)
		require.NoError(t, syscall.Mount(dir, dir, "", syscall.MS_BIND, ""))
		defer syscall.Unmount(dir, syscall.MNT_DETACH)
		log, _, err := storage.Open(storage.OS, file, "k3x9") // the new mount of the folder does not have that of the file
		require.NoError(t, err, "its folder may be one")
		require.NoError(t, log.Close())
		return
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	log, _, err := storage.Open(storage.OS, file, "k3x9")
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.NoError(t, os.Symlink(file, filepath.Join(filepath.Dir(file), "link")))
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "STORAGE_MOUNTED="+file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skip("no namespaces here: ", err)
	}
	require.NoError(t, err, "%s", out)
}

// As another user than the folder's, also where the tests are root's.
func TestFolderOfAnotherUserIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		mode os.FileMode
		want string
	}{
		"no place for a new file": {0o755, "no file can be made beside it, as each snapshot must: open "},
		"sticky":                  {0o777 | os.ModeSticky, "belongs to another user, and in a folder with the sticky bit it can't be replaced"},
		"open to all":             {0o777, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("not root: no files of another user")
			}
			for at := dir; at != os.TempDir(); at = filepath.Dir(at) {
				require.NoError(t, os.Chmod(at, 0o755))
			}
			file := filepath.Join(dir, "log")
			log, _, err := storage.Open(storage.OS, file, "k3x9")
			require.NoError(t, err)
			require.NoError(t, log.Close())
			require.NoError(t, os.Chmod(file, 0o666))
			require.NoError(t, os.Chmod(dir, c.mode))
			err = as(65534, func() error {
				log, _, err := storage.Open(storage.OS, file, "k3x9")
				if err == nil {
					err = log.Close()
				}
				return err
			})
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

// as does something as another user, on a thread that ends with it.
func as(user int, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(user), ^uintptr(0)) // of this thread
		if errno != 0 {
			done <- errno
			return
		}
		done <- do()
	}()
	return <-done
}

// Connections may have taken all descriptors when a snapshot is ready. That must not end the server.
func TestCommitNeedsNoDescriptor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	log, _, err := storage.Open(storage.OS, file, "k3x9")
	require.NoError(t, err)
	require.NoError(t, log.Append(founding()))
	r, err := log.BeginReplace()
	require.NoError(t, err)
	require.NoError(t, r.Write(founding()))

	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: limit.Max}))
	_, none := os.Open(file)
	err = commit(log, r)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	require.ErrorIs(t, none, syscall.EMFILE)
	require.NoError(t, err)
	require.NoError(t, log.Append(story()[2]))
	require.NoError(t, log.Close())
}
