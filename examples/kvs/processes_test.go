//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience bounds every wait of these tests. It is generous: the machine may have other things to do.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if built != "" {
			_ = os.RemoveAll(built)
		}
		os.Exit(status)
	}))
}

var built string // the directory of the programs, "" before they are asked for

// build builds kvs and raftpico, once. They go without the race detector: here they are somebody else's programs.
var build = sync.OnceValue(func() (err error) {
	if built, err = os.MkdirTemp("", "kvs-test-"); err != nil {
		return err
	}
	b := exec.Command("go", "build", "-o", built+"/", "github.com/raftpico/go/examples/kvs", "github.com/raftpico/go/cmd/raftpico")
	if out, err := b.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
})

// command is a call of kvs or raftpico.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	require.NoError(t, build())
	return exec.Command(filepath.Join(built, name), args...)
}

// process is a running program. It is killed at the end of its test at the latest.
type process struct {
	cmd    *exec.Cmd
	dir    string        // of the files that take its output, so that nobody need read along
	exited chan struct{} // closed when it has been waited for
}

// launch starts a command, with its output in files where it goes nowhere else.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, dir: t.TempDir(), exited: make(chan struct{})}
	stderr, err := os.Create(filepath.Join(p.dir, "stderr"))
	require.NoError(t, err)
	defer stderr.Close()
	cmd.Stderr = stderr
	if cmd.Stdout == nil {
		stdout, err := os.Create(filepath.Join(p.dir, "stdout"))
		require.NoError(t, err)
		defer stdout.Close()
		cmd.Stdout = stdout
	}
	require.NoError(t, cmd.Start())
	go func() { // ends with the process
		_ = cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, p.stderr())
		}
	})
	return p
}

func (p *process) stdout() string { return p.output("stdout") }
func (p *process) stderr() string { return p.output("stderr") }

func (p *process) output(name string) string {
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// kill is kill -9. The process is gone when it returns.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
	p.wait(t)
}

// wait waits for the end and returns the exit status, -1 after a signal.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		require.FailNow(t, "it does not end", "%v", p.cmd.Args)
	}
	return p.cmd.ProcessState.ExitCode()
}

// running tells whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, 5*time.Millisecond, what)
}

// runToEnd runs a program to its end.
func runToEnd(t *testing.T, name string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := launch(t, command(t, name, args...))
	status = p.wait(t)
	return status, p.stdout(), p.stderr()
}
