package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/secure"
	"github.com/raftpico/go/secure/securetest"
)

type adder struct{ Value int }

func (a *adder) Apply(ctx *machine.Context, n int) (any, error) {
	a.Value += n
	return a.Value, nil
}

// Each command that connects can do so over TLS.
func TestCommandsSpeakTLS(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if words := strings.Fields(cmd.Use); len(words) > 1 && strings.HasPrefix(words[1], "ADDR") {
			for _, flag := range []string{"cert", "key", "ca"} {
				require.NotNil(t, cmd.Flags().Lookup(flag), "%s has no --%s: see dialing", cmd.Name(), flag)
			}
		}
	}

	ca, other := securetest.New(t, "ca"), securetest.New(t, "ca")
	s, err := raftpico.Start(machine.JSON(&adder{}), raftpico.Options{Addr: "127.0.0.1:0", InMemory: true,
		TLS: ca.TLS(securetest.Request{Server: true, Hosts: []string{"127.0.0.1"}}), Authorize: secure.Admins("ops")})
	require.NoError(t, err)
	defer s.Close()
	flags := func(a *securetest.Authority, r securetest.Request) []string {
		f := a.Issue(r)
		return []string{s.Addr(), "--cert", f.Cert, "--key", f.Key, "--ca", ca.File}
	}
	anybody, admin, stranger := flags(ca, securetest.Request{}), flags(ca, securetest.Request{Unit: "ops"}), flags(other, securetest.Request{Unit: "ops"})
	create := succeed(t, "", "req", "CreateCluster")
	stdout, _, status := shell(create, append([]string{"call"}, anybody...)...)
	require.Equal(t, 1, status)
	require.Contains(t, stdout, `"code":113`)
	require.Contains(t, succeed(t, create, append([]string{"call"}, admin...)...), `"result":`)
	add := succeed(t, "", "req", "Apply", "-p", `["Command",7]`)
	require.Contains(t, succeed(t, add, append([]string{"call"}, anybody...)...), `"result":7`)
	require.Contains(t, succeed(t, "", append([]string{"status"}, anybody...)...), "Leader")
	stdout, _, status = shell(add, append([]string{"bench"}, anybody...)...)
	require.Zero(t, status)
	require.Contains(t, stdout, `"result":14`)

	dir := t.TempDir()
	_, stderr, status := shell("", append([]string{"backup", "-o", dir + "/anybody"}, anybody...)...)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "Not permitted")
	_, stderr, status = shell("", append([]string{"backup", "-o", dir + "/admin"}, admin...)...)
	require.Zero(t, status, stderr)

	for _, command := range []string{"call", "bench", "status"} {
		for _, flag := range []string{"--cert", "--key", "--ca"} { // a variable of a script that is not set is no plain TCP
			_, stderr, status := shell(add, command, s.Addr(), flag, "")
			require.Equal(t, 1, status, command)
			require.Contains(t, stderr, "--cert, --key and --ca go together, and none is empty", command)
		}
		stdout, stderr, status := shell(add, append([]string{command}, stranger...)...)
		require.Equal(t, 1, status, command)
		require.Contains(t, stdout+stderr, "it refuses this side", command)
		require.Contains(t, stdout+stderr, "unknown certificate authority", command)
		_, stderr, status = shell(add, command, s.Addr(), "--cert", "x")
		require.Equal(t, 1, status, command)
		require.Contains(t, stderr, "--cert, --key and --ca go together", command)
		_, stderr, status = shell(add, command, s.Addr(), "--cert", "x", "--key", "y", "--ca", "z")
		require.Equal(t, 1, status, command)
		require.Contains(t, stderr, "open x: no such file", command)
		stdout, stderr, status = shell(add, command, s.Addr()) // plain
		require.NotZero(t, status+strings.Count(stdout+stderr, "TLS"), command)
	}
}
