// Package advice says what to do about faults of the system that a person meets: a full disk, one that fails, rights, limits. An
// error's own words name the fault, and leave whoever reads them at night to find out the rest.
package advice

import (
	"errors"
	"io/fs"
	"syscall"
)

// faults are tried in order.
var faults = []struct {
	is   error
	then string
}{
	{syscall.ENOSPC, "the disk is full: make room there, and start the server again if it has ended. Nothing that it acknowledged is lost"},
	{syscall.EDQUOT, "the quota of the server's user is used up: raise it or make room, and start the server again if it has ended. Nothing that it acknowledged is lost"},
	{syscall.EROFS, "the file system is read-only: mount it for writing. If it was mounted so, the kernel's log (dmesg) tells why it is no more"},
	{syscall.EIO, "the disk fails: look into the kernel's log (dmesg). If it does not recover, give the server another disk with an empty file, and remove and add it"},
	{syscall.EMFILE, "the process may open no more files: raise its limit (ulimit -n, or LimitNOFILE= of systemd), and start it again"},
	{syscall.ENFILE, "the machine may open no more files: raise its limit (sysctl fs.file-max)"},
	{syscall.EADDRINUSE, "another process listens there: stop it, or take another port"},
	{syscall.EADDRNOTAVAIL, "this machine has no such address: listen on one that it has, or on all of them"},
	{fs.ErrPermission, "the server's user may not do that: look at the owner and the rights of the file and of its folder"},
}

// given is an error with advice.
type given struct {
	error
	then string
}

func (g *given) Error() string { return g.error.Error() + ": " + g.then }
func (g *given) Unwrap() error { return g.error }

// On is err with what to do about it in its text, and err itself if nothing is known, or it is there already.
func On(err error) error {
	if _, already := errors.AsType[*given](err); err == nil || already {
		return err
	}
	for _, f := range faults {
		if errors.Is(err, f.is) {
			return &given{err, f.then}
		}
	}
	return err
}
