package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

const page = "../MACHINES.md"

// blocks returns the page's code blocks in a language, each without its indentation.
func blocks(t *testing.T, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		all = append(all, flat(m[1]))
	}
	require.NotEmpty(t, all)
	return all
}

// flat is text whose lines begin with no tabs, between two newlines.
func flat(text string) string {
	return "\n" + strings.TrimSpace(regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(text, "")) + "\n"
}

// TestThePageShowsWhatIsTested finds each Go block of the page, whole, in a file that is compiled and tested.
func TestThePageShowsWhatIsTested(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	sources := map[string]string{}
	for _, file := range append(files, "../../machine/table/example_test.go") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		sources[file] = flat(string(text))
	}
	for _, block := range blocks(t, "go") {
		found := false
		for _, source := range sources {
			found = found || strings.Contains(source, block)
		}
		require.True(t, found, "%s: this is in none of the sources:\n%s", page, block)
	}
}

// hasty is the machine with a mistake: it takes the time of its server.
type hasty struct{ locks }

func (m *hasty) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	ctx.Time = time.Now()
	return m.locks.Apply(ctx, in)
}

// TestThePageShowsWhatMachinetestSays lets machinetest find the mistake, in a process of its own. Figures are not compared.
func TestThePageShowsWhatMachinetestSays(t *testing.T) {
	const ask = "LOCKS_TEST_HASTY"
	if os.Getenv(ask) != "" {
		machinetest.Run(t, machinetest.Config{
			New:    func() machine.Machine { return machine.JSON(&hasty{locks{Held: map[string]*held{}}}) },
			Inputs: config.Inputs[1:2],
		})
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), ask+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "it has found nothing")
	blurred := func(text string) string { return regexp.MustCompile(`\d+`).ReplaceAllString(text, "0") }
	for line := range strings.Lines(blocks(t, "text")[0]) {
		require.Contains(t, blurred(string(out)), blurred(strings.TrimSpace(line)))
	}
}
