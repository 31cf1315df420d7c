//go:build unix

package main

import (
	"bytes"
	"errors"
	"io/fs"
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

// TestReadmeShowsWhatHappens types the console examples of the README into a copy of the repository, and compares what
// they print. In blocks marked "figures", numbers and ids are not compared. Commands that end in & and the demo run
// until the end.
func TestReadmeShowsWhatHappens(t *testing.T) { showsWhatHappens(t, "../../README.md") }

func TestOurReadmeShowsWhatHappens(t *testing.T) { showsWhatHappens(t, "README.md") }

func showsWhatHappens(t *testing.T, page string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs whole programs")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	for _, port := range []string{"4000", "4001", "4002", "5000", "5001", "5002", "8000", "8001", "8002"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Skipf("the README's ports are in use: %v", err)
		}
		l.Close()
	}
	readme, err := os.ReadFile(page)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, copyTree(dir, "../.."))
	compared := 0
	for _, block := range regexp.MustCompile("(?ms)^```console( figures)?\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1) {
		for _, example := range strings.Split("\n"+block[2], "\n$ ")[1:] {
			command, want, _ := strings.Cut(example, "\n")
			switch {
			case command == "go test ./...": // this test is a part of it
			case command == "go run ./examples/kvs":
				startExample(t, dir, command)
				waitForListener(t, "127.0.0.1:4002")
				awaitCluster(t)
			case strings.HasSuffix(command, "&"):
				startExample(t, dir, strings.TrimSuffix(command, "&"))
				waitForListener(t, strings.Fields(command)[1])
			default:
				figures := block[1] != ""
				if figures {
					want = blurred(want)
				}
				var got string
				for range 10 { // figures are those of a moment: on a busy machine a follower may be silent in it
					out, err := exec.CommandContext(t.Context(), "bash", "-c", "cd "+dir+" && "+command).CombinedOutput()
					if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 && strings.Contains(want, `"error":{`) {
						err = nil // call fails if the answer is an error
					}
					require.NoError(t, err, "%s\n%s", command, out)
					if got = string(out); !figures {
						break
					}
					if got = blurred(got); strings.TrimSpace(got) == strings.TrimSpace(want) {
						break
					}
					time.Sleep(time.Second)
				}
				require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(got), command)
				compared++
			}
		}
	}
	require.Greater(t, compared, 10, "the README's examples were not found")
}

// blurred is text without its figures: runs of digits, hexadecimal ones too, and the width of columns.
func blurred(text string) string {
	text = regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`).ReplaceAllString(text, "0")
	return regexp.MustCompile(` +`).ReplaceAllString(text, " ")
}

// startExample runs a command until the end of the test. What it prints is shown if the test fails.
func startExample(t *testing.T, dir, command string) {
	var out bytes.Buffer
	cmd := exec.Command("bash", "-c", "exec "+command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // "go run" has a child
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s\n%s", command, out.String())
		}
	})
}

func waitForListener(t *testing.T, addr string) {
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond, "nobody listens at %s", addr)
}

// awaitCluster waits until all three servers of the demo are voters, as they are long before a person types.
func awaitCluster(t *testing.T) {
	last := server{addr: "127.0.0.1:4002"}
	waitFor(t, "three voters", func() bool {
		state, err := last.state(false)
		return err == nil && voters(state) == 3
	})
}

// copyTree copies the repository without its history.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name == ".git" || name == "kvs-data" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}
