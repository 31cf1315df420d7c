//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
)

func TestCommandLine(t *testing.T) {
	status, _, said := runToEnd(t, "kvs", "-nope")
	require.Equal(t, 1, status)
	require.Contains(t, said, "usage: kvs")
	status, said, _ = runToEnd(t, "kvs", "--help")
	require.Zero(t, status)
	require.Contains(t, said, "-advertise ADDR")
}

// Servers that listen on all addresses know each other by the advertised ones.
func TestServersAreKnownByWhatTheyAdvertise(t *testing.T) {
	var addrs []string
	for range 2 {
		s := server{addr: ports.Free(t, 1)[0]}
		s.process = launch(t, command(t, "kvs", "-listen", strings.Replace(s.addr, "127.0.0.1", "0.0.0.0", 1), "-advertise", s.addr, t.TempDir()+"/log"))
		waitFor(t, "an answer", func() bool {
			_, err := s.state(false)
			return err == nil || !s.running()
		})
		addrs = append(addrs, s.addr)
	}
	var members struct{ Members []string }
	require.NoError(t, call(addrs[0], "CreateCluster", nil, &members))
	settles(t, addrs[0], "AddServer", map[string]string{"addr": addrs[1]}, &members)
	require.Equal(t, addrs, members.Members)
	waitFor(t, "the second to have joined", func() bool { return apply(addrs[1], "Command", `{"Put":["foo",1]}`, nil) == nil })
}
