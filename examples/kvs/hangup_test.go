//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
)

// SIGHUP ends no server that a supervisor has started, nor one of nohup. It ends one whose terminal is closed.
func TestHangUp(t *testing.T) {
	said := func(p *process, what string) bool { return strings.Contains(p.stderr(), what) }
	supervised := launch(t, command(t, "kvs", ports.Free(t, 1)[0]))
	waitFor(t, "the server", func() bool { return said(supervised, "server started") })
	supervised.signal(t, syscall.SIGHUP)
	waitFor(t, "a word about it", func() bool { return said(supervised, "SIGHUP: nothing to do") })

	nohup := launch(t, exec.Command("sh", "-c", `trap "" HUP; exec "$@"`, "sh", filepath.Join(built, "kvs"), ports.Free(t, 1)[0]))
	waitFor(t, "the server", func() bool { return said(nohup, "server started") })
	nohup.signal(t, syscall.SIGHUP)

	for _, p := range []*process{supervised, nohup} {
		p.signal(t, syscall.SIGTERM)
		require.Zero(t, p.wait(t))
		require.True(t, said(p, "server stopped"))
	}

	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("needs script(1) for a terminal")
	}
	dir := t.TempDir()
	terminal := launch(t, exec.Command("script", "-qec", filepath.Join(built, "kvs")+" "+ports.Free(t, 1)[0]+" 2>"+dir+"/said", "/dev/null"))
	log := func() string { text, _ := os.ReadFile(dir + "/said"); return string(text) }
	waitFor(t, "the server", func() bool { return strings.Contains(log(), "server started") })
	terminal.kill(t) // which closes it
	waitFor(t, "its end", func() bool { return strings.Contains(log(), "server stopped") })
}
