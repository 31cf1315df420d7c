//go:build unix

package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// programs is the directory of the built programs.
type programs string

func (p programs) of(name string) string { return filepath.Join(string(p), name) }

func TestMain(m *testing.M) {
	if job, ok := os.LookupEnv(idsProgram); ok {
		if err := takeIDs(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

var built string // the directory of the programs, "" before they are asked for

// build builds the programs under test, once.
func build(t *testing.T) programs {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "torture-")
		require.NoError(t, err)
		built = dir
		buildIn(t, dir)
	}
	return programs(built)
}

// buildIn builds without the race detector unless GOFLAGS asks for it. Kvs gets the main of testdata, with small limits.
func buildIn(t *testing.T, dir string) {
	t.Helper()
	ours, err := filepath.Abs("testdata/main.go")
	require.NoError(t, err)
	theirs, err := filepath.Abs("../examples/kvs/main.go")
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {theirs: ours}})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, overlay, 0o600))
	out, err := exec.Command("go", "build", "-overlay", file, "-o", dir+"/", examples+"kvs", examples+"ids", examples+"locks", "github.com/raftpico/go/cmd/raftpico").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// process is a running program. What it says is appended to a file.
type process struct {
	cmd    *exec.Cmd
	said   string        // the file
	from   int64         // where in it this process begins
	exited chan struct{} // closed when it has been waited for
}

// launch starts a command. Its owner kills it.
func launch(cmd *exec.Cmd, said string) (*process, error) {
	out, err := os.OpenFile(said, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // by then it is the process's
	p := &process{cmd: cmd, said: said, exited: make(chan struct{})}
	if info, err := out.Stat(); err == nil {
		p.from = info.Size()
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which then ends it
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		_ = cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	return p, nil
}

// output is what the process has said.
func (p *process) output() string {
	text, err := os.ReadFile(p.said)
	if err != nil {
		return err.Error()
	}
	return string(text[p.from:])
}

// tail is the end of what it has said.
func (p *process) tail() string {
	text := p.output()
	return text[max(0, len(text)-2000):]
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// ended waits for the end and returns the exit status, -1 after a signal.
func (p *process) ended(within time.Duration) (int, error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("process %d, %v, has not ended within %v", p.cmd.Process.Pid, p.cmd.Args, within)
	}
}

// kill is kill -9. The process is gone when it returns.
func (p *process) kill() error {
	if err := p.signal(os.Kill); err != nil {
		return err
	}
	_, err := p.ended(patience)
	return err
}
