package torture

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// prefix begins the names of namespaces and mount points; the process id of the test follows.
const prefix = "raftpico-torture-"

// sweep removes what tests have left behind that were killed themselves.
func sweep() error {
	var errs []error
	names, err := filepath.Glob("/run/netns/" + prefix + "*")
	if err != nil {
		return err
	}
	for _, path := range names {
		if name := filepath.Base(path); orphan(name) {
			errs = append(errs, killIn(path), do("ip", "netns", "del", name))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && orphan(filepath.Base(fields[1])) {
			_ = do("fsfreeze", "--unfreeze", fields[1]) // it may hang; once it is unmounted nobody can reach it. Mostly it does not
			errs = append(errs, syscall.Unmount(fields[1], syscall.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}

// orphan tells whether a name is of a test that does not run any more.
func orphan(name string) bool {
	rest, ours := strings.CutPrefix(name, prefix)
	number, _, _ := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(number)
	return ours && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// killIn kills the processes of a network namespace.
func killIn(namespace string) error {
	var errs []error
	want, err := os.Stat(namespace)
	if err != nil {
		return err
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, proc := range procs {
		if has, err := os.Stat(proc + "/ns/net"); err != nil || !os.SameFile(want, has) {
			continue // not there, or gone
		}
		pid, err := strconv.Atoi(filepath.Base(proc))
		errs = append(errs, err, syscall.Kill(pid, syscall.SIGKILL))
	}
	return errors.Join(errs...)
}
