//go:build !linux

package storage

import "os"

// syncData makes a file's content and size durable (on macOS down to the platter: os.File.Sync asks for F_FULLFSYNC).
func syncData(f *os.File) error { return f.Sync() }
