package sim

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets garbage be: a run holds a few megabytes, and collecting every four would take a fifth of the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(1000)
	os.Exit(m.Run())
}
