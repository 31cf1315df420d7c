//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico"
)

// beforeReleases is the last commit before v0.1.0 whose servers know nothing of levels (docs/OPERATIONS.md, Upgrades).
const beforeReleases = "9fbd8b7ec4037fe87d37383f818d840f806a7817"

// A rolling upgrade from builds of the past: from the last release, and from the last one that does not tell what it can read.
func TestRollingUpgradeFromOlderBuildsLosesNoWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs; runs without -short")
	}
	t.Run("before the first release", func(t *testing.T) { testRollingUpgrade(t, buildOf(t, beforeReleases)) })
	t.Run("the last release", func(t *testing.T) {
		tag, err := git(t, "describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^") // a release is not older than itself
		if err != nil {
			tag, err = git(t, "describe", "--tags", "--abbrev=0", "--match", "v*") // the first one is
		}
		if err != nil {
			t.Skipf("no release is known here: %v", err)
		}
		testRollingUpgrade(t, buildOf(t, strings.TrimSpace(tag)))
	})
}

func git(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("git", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && stderr.Len() > 0 {
		t.Logf("git %v: %s", args, stderr.String())
	}
	return string(out), err
}

// buildOf builds kvs as it was at a commit, and skips the test where that can't be had.
func buildOf(t *testing.T, commit string) string {
	t.Helper()
	root, err := git(t, "rev-parse", "--show-toplevel")
	if err != nil {
		t.Skipf("this is no clone of the repository: %v", err)
	}
	if _, err := git(t, "cat-file", "-e", commit+"^{commit}"); err != nil {
		t.Skipf("this clone does not have %s: %v", commit, err)
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "source"), filepath.Join(dir, "kvs")
	require.NoError(t, os.Mkdir(source, 0o755))
	archive := filepath.Join(dir, "source.tar")
	_, err = git(t, "-C", strings.TrimSpace(root), "archive", "-o", archive, commit)
	require.NoError(t, err)
	for _, cmd := range []*exec.Cmd{
		exec.Command("tar", "-xf", archive, "-C", source),
		exec.Command("go", "build", "-buildvcs=false", "-o", program, "./examples/kvs"),
	} {
		if cmd.Args[0] == "go" {
			cmd.Dir = source
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return program
}

// testRollingUpgrade replaces the servers of an older build one by one, under load, and puts an older one back in between and
// in the end: that works until something is logged that the older build does not know.
func testRollingUpgrade(t *testing.T, older string) {
	c := startClusterOf(t, older)
	before, err := c[0].state(false)
	require.NoError(t, err)
	l := startLoad(t, c.addrs(), clients)
	replace := func(s *server, build string) {
		l.await(some)
		began := time.Now()
		require.Zero(t, s.stop(t), "exit status after SIGTERM")
		s.build = build
		s.start(t)
		c.rejoined(t, s)
		t.Logf("replaced after %v", time.Since(began).Round(time.Millisecond))
	}
	lease := map[string]any{"lease_reads": true} // the command that older builds do not know

	replace(c[0], "")
	now, err := c[0].state(false)
	require.NoError(t, err)
	knowsLess := before.Level < now.Level
	if knowsLess {
		err := call(c[0].addr, "Configure", lease, nil)
		require.ErrorIs(t, err, raftpico.ErrBusy, "a member does not know it")
		require.ErrorContains(t, err, "runs an older release")
	}
	c.sameHash(t)
	replace(c[0], older) // there is a way back
	for _, s := range c {
		replace(s, "")
	}
	replace(c[1], older) // also from here: nothing was logged that it does not know
	if knowsLess {
		require.ErrorContains(t, call(c[0].addr, "Configure", lease, nil), "runs an older release")
	}
	replace(c[1], "")

	require.Eventually(t, func() bool { // c[0] may have to lose sight of the older build
		err = call(c[0].addr, "Configure", lease, nil)
		return err == nil
	}, patience, 50*time.Millisecond, "the new command, when all know it: %v", err)
	l.await(some)
	settles(t, c[0].addr, "SetVoter", map[string]any{"addr": c[2].addr, "voter": false}, nil)
	settles(t, c[0].addr, "SetVoter", map[string]any{"addr": c[2].addr, "voter": true}, nil)
	for _, s := range c {
		c.rejoined(t, s)
		state, err := s.state(false)
		require.NoError(t, err)
		require.False(t, state.Diverged, "%s", s.addr)
	}
	if knowsLess { // there is no way back any more: the older build ends, and the file is as good as it was
		require.Zero(t, c[2].stop(t))
		back := command(t, "kvs", c[2].addr, c[2].file)
		back.Path = older
		p := launch(t, back)
		require.NotZero(t, p.wait(t), "it can't go on")
		words := "a newer release has written it, run that one"
		if before.Level == 0 {
			words = "command 0 of 1 is none" // builds before the first release say no more
		}
		require.Contains(t, p.stderr(), words)
		l.await(some) // the others do
		c[2].start(t)
		c.rejoined(t, c[2])
	}
	came := l.check(c)
	require.Zero(t, came[lost], "writes that were applied, and not answered before the connection was closed")
}

// sameHash has the servers hash their states at the same entry, and waits until one has heard that none differs.
func (c cluster) sameHash(t *testing.T) {
	t.Helper()
	var asked struct{ Index uint64 }
	waitFor(t, "a hash", func() bool { return call(c[0].addr, "CheckState", nil, &asked) == nil }) // a snapshot may be under way
	waitFor(t, "the hashes of all", func() bool {
		state, err := c[0].state(false)
		if err != nil {
			return false
		}
		require.False(t, state.Diverged, "%+v", state)
		for _, m := range state.Members {
			if m.Addr != c[0].addr && (m.StateHash == nil || m.StateHash.Index < asked.Index) {
				return false
			}
		}
		return true
	})
}
