package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// Strace has servers run under strace, which counts their syncs and can make each take longer: a disk that is slower than
// this machine's, for any system. Only syncs stop for it, but each costs some 0.1 ms more, so rates are not those without it.
type Strace struct {
	Delay time.Duration // of each sync; 0: as long as it takes
	Dir   string        // where strace writes, a file for each process
}

// program returns a command that runs this program with the arguments. The process is its own: strace detaches itself.
func (s *Strace) program(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if s == nil {
		return exec.CommandContext(ctx, self, args...), nil
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(s.Dir, "")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const calls = "fdatasync,fsync"
	options := []string{"-D", "-f", "--seccomp-bpf", "-qq", "-ttt", "-o", file.Name(), "-e", "trace=" + calls, "-e", "signal=none"}
	if s.Delay > 0 {
		options = append(options, "-e", fmt.Sprintf("inject=%s:delay_exit=%d", calls, s.Delay.Microseconds()))
	}
	return exec.CommandContext(ctx, strace, append(append(options, self), args...)...), nil
}

// A line of strace's tells of a call when it begins; another one, when it took long, that it was "resumed".
var syncCall = regexp.MustCompile(`(?m)^\d+ +(\d+\.\d+) f(?:data)?sync\(`)

// count puts the number of syncs into results.
func (s *Strace) count(results []Result) error {
	if s == nil {
		return nil
	}
	defer os.RemoveAll(s.Dir)
	files, err := filepath.Glob(filepath.Join(s.Dir, "*"))
	if err != nil {
		return err
	}
	var b []byte
	for _, file := range files {
		lines, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		b = append(b, lines...)
	}
	for _, call := range syncCall.FindAllSubmatch(b, -1) {
		at, err := strconv.ParseFloat(string(bytes.TrimSpace(call[1])), 64)
		if err != nil {
			return err
		}
		for i := range results {
			r := &results[i]
			began := float64(r.Began.UnixMicro()) / 1e6
			if began <= at && at < began+r.Took.Seconds() {
				r.Traced++
			}
		}
	}
	for i := range results {
		r := &results[i]
		r.Syncs = float64(r.Traced) / float64(max(r.Operations, 1))
	}
	return nil
}
