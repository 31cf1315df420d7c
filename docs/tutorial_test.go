//go:build unix

// Package docs holds the documents. Its tests do what they say.
package docs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTutorialShowsWhatHappens does what TUTORIAL.md says, in the order of the page: it writes the files, types the commands,
// and compares what they print. In blocks marked "figures", numbers are not compared. In place of the module that the
// page gets, it takes this one. Nothing is asked of the network but on 127.0.0.1, if the module cache has what this module needs.
func TestTutorialShowsWhatHappens(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs whole programs")
	}
	for port := 4300; port <= 4302; port++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			t.Skipf("the page's ports are in use: %v", err)
		}
		require.NoError(t, l.Close())
	}
	page, err := os.ReadFile("TUTORIAL.md")
	require.NoError(t, err)
	dir := t.TempDir()
	first, second := startShell(t, dir), startShell(t, dir) // the page's two terminals
	files, commands := 0, 0
	var demo string // what it is to print; empty: it does not run
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+) ?(\\S*)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		language, note, text := block[1], block[2], block[3]
		if language == "go" {
			path := filepath.Join(dir, "lockd", note)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			files++
			continue
		}
		for _, example := range strings.Split("\n"+text, "\n$ ")[1:] {
			command, want, _ := strings.Cut(example, "\n")
			commands++
			switch {
			case strings.HasPrefix(command, "go get "):
				takeThisModule(t, filepath.Join(dir, "lockd"))
				continue
			case strings.HasSuffix(command, "&& ./lockd"):
				demo = want
				first.begin(command)
				require.Equal(t, strings.TrimSpace(demo), strings.TrimSpace(first.until(t, "data again.\n")), command)
				second.do(t, "cd lockd")
				continue
			case strings.HasPrefix(command, "ALL=") && demo != "":
				_, err := first.in.Write([]byte("exit\n"))
				require.NoError(t, err)
				require.NoError(t, syscall.Kill(first.child(t), syscall.SIGINT)) // Ctrl-C
				require.NoError(t, first.cmd.Wait())
			}
			shell := first
			if demo != "" {
				shell = second
			}
			got := jobs.ReplaceAllString(shell.do(t, command), "")
			if strings.HasPrefix(command, "go mod init") {
				got = "" // says what it does
			}
			if note == "figures" {
				got, want = blurred(got), blurred(want)
			}
			require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(got), command)
		}
	}
	require.Equal(t, 3, files, "the page's files were not found")
	require.Greater(t, commands, 20, "the page's commands were not found")
}

// takeThisModule has the module in dir require this one, from its folder, and what it requires itself.
func takeThisModule(t *testing.T, dir string) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	const path = "github.com/raftpico/go"
	text := strings.Replace(string(mod), "module "+path, "module lockd", 1)
	text += fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %q\n\ntool %s/cmd/raftpico\n", path, path, root, path)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o644))
}

// jobs is what a shell says of them.
var jobs = regexp.MustCompile(`(?m)^bash: line \d+: .*(Killed|Terminated) .*\n`)

// blurred is text without its numbers.
func blurred(text string) string { return regexp.MustCompile(`[0-9.]+`).ReplaceAllString(text, "0") }

// shell is a terminal. Everything that it has begun ends with the test.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// patience bounds each command.
const patience = time.Minute

func startShell(t *testing.T, dir string) *shell {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	s := &shell{cmd: exec.Command("bash", "--norc"), out: bufio.NewReader(r)}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, w, w
	s.cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.in, err = s.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	require.NoError(t, w.Close())
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // jobs too: without "set -m" they are of the same group
		_ = s.cmd.Wait()
		require.NoError(t, r.Close())
	})
	require.NoError(t, r.SetReadDeadline(time.Now().Add(3*patience)))
	return s
}

func (s *shell) begin(command string) { _, _ = io.WriteString(s.in, command+"\n") }

// do types a command, and returns what is printed until it has ended.
func (s *shell) do(t *testing.T, command string) string {
	t.Helper()
	const end = "the end of the command: "
	s.begin(command + "\necho \"" + end + "$?\"")
	out := s.until(t, end)
	status, err := s.out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "0\n", status, "%s\n%s", command, out)
	return strings.TrimSuffix(out, end)
}

// until reads to the end of a text.
func (s *shell) until(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	for !strings.HasSuffix(out.String(), text) {
		b, err := s.out.ReadByte()
		require.NoError(t, err, "no %q in %s", text, out.String())
		out.WriteByte(b)
	}
	return out.String()
}

// child is the process that runs in the foreground.
func (s *shell) child(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(s.cmd.Process.Pid)).Output()
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(out), &pid)
	require.NoError(t, err)
	return pid
}
