//go:build unix

package torture

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report tells how the run went.
func (r *run) report(commit uint64) {
	r.t.Helper()
	r.reported = true
	faults := append(r.trial.verdict(), r.tally.faults...)
	total, text := r.tally.summary()
	took := time.Since(r.began)
	verdict := "clean"
	for _, err := range faults {
		r.t.Error(err)
	}
	if r.t.Failed() {
		verdict = "FAILED"
	}
	var names []string
	n := 0
	for _, name := range slices.Sorted(maps.Keys(r.counts)) {
		names = append(names, fmt.Sprintf("%s %d", name, r.counts[name]))
		n += r.counts[name]
	}
	r.t.Logf("seed %d: %s. %d servers, %v, %d operations (%.0f/s), commit %d\n  operations: %s\n  %d faults: %s\n"+
		"  longest time without an answered write: %v; with everything healed: %v%s",
		r.seed, verdict, len(r.servers), took.Round(time.Second), total, float64(total)/took.Seconds(), commit, text, n, strings.Join(names, ", "),
		r.tally.gap.Round(time.Millisecond), r.wait.Round(time.Millisecond), r.trial.report())
}

// keepEvidence saves a failed run's files.
func (r *run) keepEvidence() {
	if !r.t.Failed() || *keepFlag == "" {
		return
	}
	to := filepath.Join(*keepFlag, fmt.Sprintf("seed-%d", r.seed))
	files, err := filepath.Glob(filepath.Join(r.dir, "*.*")) // what servers said, and histories
	errs := []error{err, os.MkdirAll(to, 0o700)}
	for _, file := range files {
		errs = append(errs, copyFile(filepath.Join(to, filepath.Base(file)), file))
	}
	for _, s := range r.servers {
		errs = append(errs, copyFile(filepath.Join(to, fmt.Sprintf("server-%d.jsonl", s.id)), s.file()))
	}
	r.t.Logf("logs and histories: %s; errors: %v", to, errors.Join(errs...))
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}
