package raftpico

import "time"

// For tests that must not wait as long as an operator may.
func init() { slowPause = 200 * time.Millisecond }
