//go:build unix

package docs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRunbookShowsWhatHappens types the commands of RUNBOOK.md, in the order of the page, and compares what they print. Each
// must end well.
func TestRunbookShowsWhatHappens(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs whole programs")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("the page uses curl: %v", err)
	}
	page, err := os.ReadFile("RUNBOOK.md")
	require.NoError(t, err)
	for _, addr := range regexp.MustCompile(`127\.0\.0\.1:\d{4}`).FindAllString(string(page), -1) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skipf("the page's ports are in use: %v", err)
		}
		require.NoError(t, l.Close())
	}
	dir := t.TempDir()
	build, found := "", false
	shell, commands := startShell(t, dir), 0
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, name := range logs {
				text, _ := os.ReadFile(name)
				t.Logf("%s:\n%s", filepath.Base(name), text)
			}
		}
	})
	for _, block := range regexp.MustCompile("(?ms)^```console ?(\\S*)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		note, text := block[1], strings.ReplaceAll(block[2], "\\\n    ", "")
		if strings.HasPrefix(text, "$ openssl") && !openssl3() {
			t.Log("the rest of the page needs OpenSSL 3")
			break
		}
		for _, example := range strings.Split("\n"+text, "\n$ ")[1:] {
			command, want, _ := strings.Cut(example, "\n")
			if build, found = strings.CutPrefix(command, "go build -o bin/ "); found { // in the clone, which stays as it is
				root, err := filepath.Abs("..")
				require.NoError(t, err)
				command = fmt.Sprintf("go build -C '%s' -o '%s/bin/' %s", root, dir, build)
			}
			commands++
			got := jobs.ReplaceAllString(shell.do(t, command), "")
			if note == "figures" {
				got, want = blurred(got), blurred(want)
			}
			require.Equal(t, trimmedLines(want), trimmedLines(got), command)
		}
	}
	require.Greater(t, commands, 40, "the page's commands were not found")
}

func openssl3() bool {
	out, err := exec.Command("openssl", "version").Output()
	return err == nil && strings.HasPrefix(string(out), "OpenSSL 3")
}

// trimmedLines is text without the spaces at the ends of its lines.
func trimmedLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
