//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package storage

import "os"

// lockFile does nothing. NB: here nothing keeps two servers off one file; these systems are compiled for, not supported.
func lockFile(*os.File) error { return nil }

// openDir opens nothing: a directory can't be opened and synced everywhere.
func openDir(string) (Dir, error) { return noDir{}, nil }

type noDir struct{}

func (noDir) Sync() error  { return nil }
func (noDir) Close() error { return nil }

// othersFile can't tell.
func othersFile(_, _ os.FileInfo) bool { return false }
