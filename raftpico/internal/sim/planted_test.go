package sim

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var planted = flag.Bool("planted", false, "plant the bugs of testdata/planted, one after the other, and see that each is caught (needs -timeout 1h)")

// plantedSeeds is within how many seeds a bug must be caught.
const plantedSeeds = 3000

// TestPlantedBugs checks the checks: every patch in testdata/planted breaks one rule of the product, and the simulator
// must find out: TestSeeds, or the test of a line "# seeds of: TEST"; or, where a line says "# caught by: PACKAGE -run TESTS",
// these tests. One of them: -run //NAME.
func TestPlantedBugs(t *testing.T) {
	if !*planted {
		t.Skip("it builds the simulator for every bug: -planted")
	}
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	patches, err := filepath.Glob("testdata/planted/*.patch")
	require.NoError(t, err)
	require.NotEmpty(t, patches)
	began := time.Now()
	reports := make([]string, len(patches))
	t.Run("bug", func(t *testing.T) {
		for i, path := range patches {
			name := strings.TrimSuffix(filepath.Base(path), ".patch")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p, err := readPatch(path)
				require.NoError(t, err)
				caught := p.plant(t, root)
				t.Log(caught)
				reports[i] = fmt.Sprintf("%-45s %s\n", name, caught)
			})
		}
	})
	t.Logf("in %v:\n%s", time.Since(began).Round(time.Second), strings.Join(reports, ""))
}

// TestPlantedBugsFit holds that the patches follow the code.
func TestPlantedBugsFit(t *testing.T) {
	patches, err := filepath.Glob("testdata/planted/*.patch")
	require.NoError(t, err)
	require.NotEmpty(t, patches)
	for _, path := range patches {
		p, err := readPatch(path)
		require.NoError(t, err)
		for _, f := range p.files {
			source, err := os.ReadFile(filepath.Join("../../..", f.path))
			require.NoError(t, err)
			_, err = f.apply(string(source))
			assert.NoError(t, err, path)
		}
	}
}

// build builds the test with the bug in it.
func (p *patch) build(t *testing.T, root string) (binary string) {
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, f := range p.files {
		source, err := os.ReadFile(filepath.Join(root, f.path))
		require.NoError(t, err)
		broken, err := f.apply(string(source))
		require.NoError(t, err)
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		require.NoError(t, os.WriteFile(to, []byte(broken), 0o600))
		overlay.Replace[filepath.Join(root, f.path)] = to
	}
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600))
	binary = filepath.Join(dir, "test")
	build := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-c", "-o", binary, p.where)
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// plant runs the test with the bug in it, until it fails. It returns how it did.
func (p *patch) plant(t *testing.T, root string) string {
	binary := p.build(t, root)
	ctx := t.Context()
	if end, ok := t.Deadline(); ok { // none may outlive this test
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-10*time.Second))
		defer cancel()
	}
	run := exec.CommandContext(ctx, binary, "-test.run", p.tests, "-test.failfast", "-test.timeout=0")
	if p.seeded {
		run.Args = append(run.Args, fmt.Sprintf("-seeds=%d", plantedSeeds))
	}
	run.Dir = filepath.Join(root, p.where)
	out, err := run.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		t.Fatalf("not caught: %s", p.about)
	case ctx.Err() != nil || !errors.As(err, &failed):
		t.Fatalf("not caught in time (%v): %s", err, p.about)
	}
	took := (run.ProcessState.UserTime() + run.ProcessState.SystemTime()).Round(100 * time.Millisecond)
	if !p.seeded {
		name := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindSubmatch(out)
		require.NotNil(t, name, "%s", out)
		return fmt.Sprintf("%s, %v of CPU time", name[1], took)
	}
	said := regexp.MustCompile(`seed (\d+), at \S+: (.*)`).FindSubmatch(out)
	require.NotNil(t, said, "%s", out)
	self, err := os.Executable()
	require.NoError(t, err)
	sound := exec.CommandContext(t.Context(), self, "-test.run", p.tests, "-seeds=1", "-from="+string(said[1]))
	if out, err := sound.CombinedOutput(); err != nil {
		t.Fatalf("seed %s fails without the bug too: %v\n%s", said[1], err, out)
	}
	return fmt.Sprintf("seed %s, %v of CPU time: %.150s", said[1], took, said[2])
}

// patch is a unified diff with a comment before it.
type patch struct {
	about  string
	where  string // the package whose tests catch the bug
	tests  string
	seeded bool // it is the simulator
	files  []*filePatch
}

type filePatch struct {
	path  string
	hunks []hunk
}

// hunk replaces some lines, wherever they are: but once, and exactly.
type hunk struct{ old, new string }

func readPatch(path string) (*patch, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &patch{where: "./raftpico/internal/sim", tests: "^TestSeeds$", seeded: true}
	var f *filePatch
	for line := range strings.Lines(string(text)) {
		rest := strings.TrimSpace(line[1:])
		switch {
		case strings.HasPrefix(line, "# caught by: "):
			where, tests, ok := strings.Cut(strings.TrimPrefix(rest, "caught by: "), " -run ")
			if !ok {
				return nil, fmt.Errorf("%s: which tests? %s", path, rest)
			}
			p.where, p.tests, p.seeded = where, tests, false
		case strings.HasPrefix(line, "# seeds of: "):
			p.tests = "^" + strings.TrimPrefix(rest, "seeds of: ") + "$"
		case line[0] == '#':
			p.about = strings.TrimSpace(p.about + " " + rest)
		case strings.HasPrefix(line, "--- a/"):
			f = &filePatch{path: strings.TrimPrefix(rest, "-- a/")}
			p.files = append(p.files, f)
		case strings.HasPrefix(line, "+++ b/") && f != nil:
		case strings.HasPrefix(line, "@@") && f != nil:
			f.hunks = append(f.hunks, hunk{})
		case f == nil || len(f.hunks) == 0:
			return nil, fmt.Errorf("%s: unknown line %q", path, line)
		default:
			h := &f.hunks[len(f.hunks)-1]
			if line[0] != '+' {
				h.old += line[1:]
			}
			if line[0] != '-' {
				h.new += line[1:]
			}
		}
	}
	if len(p.files) == 0 || p.about == "" {
		return nil, fmt.Errorf("%s: %s", path, cmp.Or(p.about, "it does not say what it breaks"))
	}
	return p, nil
}

// apply returns the broken source. It fails when the code has moved on: then the patch must follow.
func (f *filePatch) apply(source string) (string, error) {
	for _, h := range f.hunks {
		if n := strings.Count(source, h.old); n != 1 {
			return "", fmt.Errorf("%s: these lines are there %d times, not once:\n%s", f.path, n, h.old)
		}
		source = strings.Replace(source, h.old, h.new, 1)
	}
	return source, nil
}
