//go:build !linux

package raftpico

// inBackground does nothing: threads have no priority of their own here.
func inBackground() {}
