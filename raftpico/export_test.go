package raftpico

import "time"

// For tests that must not wait as long as an operator may.
func init() { slowPause, lookPause = 200*time.Millisecond, 100*time.Millisecond }
