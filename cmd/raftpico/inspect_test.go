package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

type counter struct{ Value int }

func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
	if ctx.Kind == machine.Command {
		c.Value += add
	}
	return c.Value, nil
}

func startServer(t *testing.T, file string) *raftpico.Server {
	s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: "127.0.0.1:0", File: file, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStatusShowsTheServersAskedAndTheMembersTheyKnow(t *testing.T) {
	a, b := startServer(t, filepath.Join(t.TempDir(), "a")), startServer(t, filepath.Join(t.TempDir(), "b"))
	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	lone := startServer(t, filepath.Join(t.TempDir(), "c"))
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)

	var out, errs bytes.Buffer
	require.Equal(t, 0, run([]string{"status", a.Addr(), lone.Addr()}, nil, &out, &errs), errs.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 4, "%s", out.String())
	require.Equal(t, []string{"ADDRESS", "ID", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "PROGRESS", "LOG", "SNAPSHOT", "UNDER", "WAY"}, strings.Fields(lines[0]))
	require.Equal(t, []string{a.Addr(), "1", "Leader", "2"}, strings.Fields(lines[1])[:4])
	require.Contains(t, lines[2], lone.Addr()+"  -   no cluster")
	require.Equal(t, b.Addr(), strings.Fields(lines[3])[0], "a member that a knows")

	require.NoError(t, b.Close())
	out.Reset()
	require.Equal(t, 1, run([]string{"status", a.Addr()}, nil, &out, &errs))
	lines = strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3, "%s", out.String())
	require.Contains(t, lines[2], "connection refused")
	out.Reset()
	require.Equal(t, 0, run([]string{"status", "--only", a.Addr()}, nil, &out, &errs), "it is well, whatever the others are")
	require.Len(t, strings.Split(strings.TrimSpace(out.String()), "\n"), 2, "%s", out.String())
	require.Equal(t, 1, run([]string{"status", "--only", b.Addr()}, nil, &out, &errs))
	for _, column := range []string{"ROLE", "TERM", "PROGRESS", "LOG", "UNDER WAY"} {
		at := strings.Index(lines[0], column)
		require.True(t, lines[2][at-1] == ' ' && lines[2][at] != ' ', "%s: %s", column, out.String())
	}
	require.Less(t, strings.Index(lines[0], "UNDER WAY"), 120, "what is wrong with one server widens no column")
}

func TestStatusRemarks(t *testing.T) {
	var differs raftpico.State
	require.NoError(t, json.Unmarshal([]byte(`{"machine_version":3,"active_version":2,"members":[{"addr":"a:1"},{"addr":"b:1","diverged":true}]}`), &differs))
	require.Equal(t, "  state differs from b:1  machine version 3, the cluster's is 2", remarks(&differs))
	var learner raftpico.State
	require.NoError(t, json.Unmarshal([]byte(`{"node_id":7,"members":[{"id":1},{"id":7,"role":"Learner","nonvoter":true}]}`), &learner))
	require.Equal(t, "  learns for good", remarks(&learner))
	require.Equal(t, "  dead members removed: 2", remarks(&raftpico.State{Role: "Leader", RemovedDead: 2}))
	require.Empty(t, remarks(new(raftpico.State)))
}

func TestStatusForPrograms(t *testing.T) {
	a := startServer(t, filepath.Join(t.TempDir(), "a"))
	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	dead := nobody(t)
	stdout, stderr, status := shell("", "status", "--json", a.Addr(), dead)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "1 of the servers could not be asked")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 2)
	var first struct {
		Addr  string
		State struct {
			Role     string
			Machines json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, []string{a.Addr(), "Leader"}, []string{first.Addr, first.State.Role})
	require.Empty(t, first.State.Machines, "not asked for")
	require.Equal(t, `{"addr":"`+dead+`","error":"connection refused"}`, lines[1])
}

func TestStatusAsksAServerOnceWhateverItsName(t *testing.T) {
	a := startServer(t, filepath.Join(t.TempDir(), "a"))
	_, err := a.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(a.Addr())
	require.NoError(t, err)
	require.Len(t, strings.Split(strings.TrimSpace(succeed(t, "", "status", "localhost:"+port)), "\n"), 2)
}

func TestLogPrintsAndVerifiesAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	s := startServer(t, file)
	_, err := s.CreateCluster(t.Context(), raftpico.Timeouts{})
	require.NoError(t, err)
	_, err = s.Apply(t.Context(), machine.Command, 42)
	require.NoError(t, err)

	inspect := func(args ...string) (status int, out, errs string) {
		var o, e bytes.Buffer
		status = run(append([]string{"log"}, args...), nil, &o, &e)
		return status, o.String(), e.String()
	}
	status, out, errs := inspect(file)
	require.Equal(t, 0, status, "of a running server: %s", errs)
	require.Contains(t, out, `{"Apply":42}`)
	require.Contains(t, errs, "a server would start from it as it is")
	require.NoError(t, s.Close())
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	key := regexp.MustCompile(`"key":"([0-9a-f]{64})"`).FindSubmatch(good)
	require.NotNil(t, key)
	require.Equal(t, strings.ReplaceAll(string(good), string(key[1]), "(hidden)"), out, "the lines as they are, but for the secret")
	_, out, _ = inspect("--show-key", file)
	require.Equal(t, string(good), out)

	require.NoError(t, os.WriteFile(file, append(bytes.Clone(good), `{"HardState":{"term":9`...), 0o600))
	status, _, errs = inspect(file, "-q")
	require.Equal(t, 0, status)
	require.Contains(t, errs, "would cut the last 22 bytes")

	damaged := bytes.Replace(good, []byte(`"node_id":1`), []byte(`"node_id":2`), 1)
	require.NoError(t, os.WriteFile(file, damaged, 0o600))
	status, _, errs = inspect(file)
	require.Equal(t, 1, status)
	require.Contains(t, errs, "line 2")
	require.Contains(t, errs, "a server would refuse to start from it")

	status, _, errs = inspect(file + "-nobody")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "no such file")
}

func TestStatusOfSilentServerComesToAnEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var out, errs bytes.Buffer
	require.Equal(t, 1, run([]string{"status", l.Addr().String()}, nil, &out, &errs))
	require.Contains(t, out.String(), "no answer")
}
