//go:build unix

package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/secure/securetest"
)

// Three processes with TLS find each other, keep changes of the cluster for administrators, and take new certificates while
// they run, one authority after the other.
func TestProcessesOverTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	old := securetest.New(t, "old")
	aServer := securetest.Request{Server: true, Hosts: []string{"127.0.0.1"}}
	dir := t.TempDir()
	trusted := dir + "/ca.crt" // of all: each rotation is one write
	trust := func(authorities ...*securetest.Authority) {
		var all []byte
		for _, a := range authorities {
			text, err := os.ReadFile(a.File)
			require.NoError(t, err)
			all = append(all, text...)
		}
		require.NoError(t, os.WriteFile(trusted, all, 0o600))
	}
	trust(old)
	var addrs []string
	for range 3 {
		addrs = append(addrs, ports.Free(t, 1)[0])
	}
	var servers []*process
	var shown []securetest.Files
	for i, addr := range addrs {
		f := old.Issue(aServer)
		shown = append(shown, f)
		servers = append(servers, launch(t, command(t, "kvs", "-cert", f.Cert, "-key", f.Key, "-ca", trusted, "-admin", "ops",
			"-join", strings.Join(addrs, ","), "-bootstrap", "3", addr, dir+"/"+string(rune('a'+i))+".jsonl")))
	}
	run := func(stdin string, f securetest.Files, words ...string) string {
		cmd := command(t, "raftpico", append(words, "--cert", f.Cert, "--key", f.Key, "--ca", trusted)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, _ := cmd.CombinedOutput() // the exit status says no more than the text
		return string(out)
	}
	anybody, admin := old.Issue(securetest.Request{}), old.Issue(securetest.Request{Unit: "ops"})
	waitFor(t, "a cluster of three", func() bool {
		out := run("", admin, "status", addrs[0])
		return strings.Count(out, "Follower") == 2 && strings.Count(out, "Leader") == 1
	})
	put := `{"jsonrpc":"2.0","method":"Apply","params":["Command",{"Put":["k",1]}],"id":1}`
	require.Contains(t, run(put, anybody, append([]string{"call"}, addrs...)...), `"result":`)
	snap := `{"jsonrpc":"2.0","method":"TakeSnapshot","id":1}`
	require.Contains(t, run(snap, anybody, "call", addrs[0]), `"code":113`)
	require.Contains(t, run(snap, admin, "call", addrs[0]), `"result":`)

	// Both authorities are trusted; everybody gets a new certificate; the old one is trusted no more.
	next := securetest.New(t, "next")
	trust(old, next)
	for i, f := range shown {
		waitFor(t, "both authorities to be trusted", func() bool {
			return strings.Contains(run(put, next.Issue(securetest.Request{}), "call", addrs[i]), `"result":`)
		})
		next.Renew(f, aServer)
	}
	trust(next)
	for _, addr := range addrs {
		waitFor(t, "the old authority to be trusted no more", func() bool {
			return strings.Contains(run(put, anybody, "call", addr), "unknown certificate authority")
		})
		waitFor(t, "the new certificate to be in use", func() bool {
			return strings.Contains(run(put, next.Issue(securetest.Request{}), "call", addr), `"result":`)
		})
	}

	// The leader goes: the others dial each other anew, as what they are now, and serve.
	servers[0].kill(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := client.NewWith(client.Options{TLS: next.TLS(securetest.Request{})}, addrs[1:]...)
	defer c.Close()
	_, err := client.Call[any](ctx, c, machine.Command, map[string]any{"Put": []any{"k", 2}})
	require.NoError(t, err)

	for _, line := range []string{"-cert x 127.0.0.1:0", "-admin ops 127.0.0.1:0", "-cert x -key y -ca z 127.0.0.1:0"} {
		status, _, said := runToEnd(t, "kvs", strings.Fields(line)...)
		require.Equal(t, 1, status, line)
		require.Contains(t, said, "kvs: ", line)
	}
	for _, s := range servers[1:] {
		s.signal(t, os.Interrupt)
		require.Zero(t, s.wait(t), s.stderr())
	}
}
