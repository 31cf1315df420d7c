//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWithoutArgumentsItIsAClusterThatFindsItsDataAgain(t *testing.T) {
	service := newService()
	for _, addr := range slices.Concat(service.Addrs, service.HTTPAddrs) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skipf("the demo needs its ports: %v", err)
		}
		require.NoError(t, l.Close())
	}
	dir := t.TempDir()
	begin := func() *process {
		cmd := command(t, "kvs")
		cmd.Dir = dir
		p := launch(t, cmd)
		waitFor(t, "word of what to type", func() bool { return strings.Contains(p.stdout(), "Ctrl-C") || !p.running() })
		require.True(t, p.running(), "it has ended: %s", p.stderr())
		return p
	}
	end := func(p *process) {
		began := time.Now()
		p.signal(t, os.Interrupt)
		require.Zero(t, p.wait(t))
		t.Logf("Ctrl-C: stopped after %v", time.Since(began).Round(time.Millisecond))
		require.Less(t, time.Since(began), patience/2)
	}

	p := begin()
	for _, part := range []string{"raftpico req Apply", "raftpico call :4000", "raftpico status", "raftpico log " + filepath.Join("kvs-data", "server-0.jsonl")} {
		require.Contains(t, p.stdout(), part)
	}
	waitFor(t, "three full members", func() bool {
		s := server{addr: service.Addrs[2]}
		state, err := s.state(false)
		return err == nil && voters(state) == 3
	})
	require.NoError(t, apply(service.Addrs[0], "Command", `{"Put":["foo",123]}`, nil))
	for i, addr := range service.HTTPAddrs {
		require.Contains(t, p.stdout(), "http://"+addr)
		require.Equal(t, "123", get(t, addr, "/konsen?key=foo"))
		require.Contains(t, get(t, addr, "/api/status"), `"http":"`+service.HTTPAddrs[(i+1)%3]+`"`)
	}
	end(p)

	p = begin()
	var value int
	require.NoError(t, apply(service.Addrs[1], "Query", `{"Get":"foo"}`, &value))
	require.Equal(t, 123, value)
	end(p)
}

func apply(addr, kind, input string, result any) error {
	return call(addr, "Apply", map[string]any{"kind": kind, "input": json.RawMessage(input)}, result)
}

func TestHundredThousandPutsThroughTheCommandLine(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	c := startCluster(t)
	gen := command(t, "raftpico", "gen", "put", "--count", "100000")
	bench := command(t, "raftpico", append(append([]string{"bench"}, c.addrs()...), "-c", "1000")...)
	stats := command(t, "raftpico", "stats")
	p := pipeline(t, gen, bench, stats)
	verify := func() {
		for _, s := range c {
			status, _, said := runToEnd(t, "raftpico", "log", "--quiet", s.file)
			require.Zero(t, status, said)
		}
	}
	for p[1].running() {
		verify() // also the file of a running server
	}
	for _, p := range p {
		require.Zero(t, p.wait(t), p.stderr())
	}
	var sum struct {
		PerSecond int `json:"requests_per_second"`
		Detail    struct{ Count struct{ Success, Error int } }
	}
	require.NoError(t, json.Unmarshal([]byte(p[2].stdout()), &sum))
	require.Equal(t, 100_000, sum.Detail.Count.Success)
	require.Zero(t, sum.Detail.Count.Error)
	c.settled(t)
	verify()
	for _, s := range c {
		state, err := s.state(false)
		require.NoError(t, err)
		t.Logf("%s: %d puts/s, %d syncs, %d bytes of log", state.Role, sum.PerSecond, state.Log.Syncs, state.Log.Bytes)
	}
}

// pipeline starts commands, each reading what the one before it prints.
func pipeline(t *testing.T, commands ...*exec.Cmd) (started []*process) {
	t.Helper()
	for i, cmd := range commands {
		if i == len(commands)-1 {
			break
		}
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer func() { require.NoError(t, errors.Join(r.Close(), w.Close())) }() // by then they are the processes'
		cmd.Stdout, commands[i+1].Stdin = w, r
	}
	for _, cmd := range commands {
		started = append(started, launch(t, cmd))
	}
	return started
}
