package memnet_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
	"github.com/raftpico/go/secure/securetest"
)

// Over TLS too a cable that was cut is noticed, by who is cut off and by the others, and all go on when it is mended.
func TestCutCableIsNoticedOverTLS(t *testing.T) {
	var network memnet.Network
	ca := securetest.New(t, "ca")
	var servers []*raftpico.Server
	for i := range 3 {
		host := fmt.Sprintf("server-%d", i)
		addr := host + ":4000"
		listener, err := network.Listen(addr)
		require.NoError(t, err)
		s, err := raftpico.Start(machine.JSON(&counter{}), raftpico.Options{Addr: addr, InMemory: true, Listener: listener, Dial: network.Dialer(addr),
			TLS: ca.TLS(securetest.Request{Server: true, Hosts: []string{host}})})
		require.NoError(t, err)
		defer s.Close()
		servers = append(servers, s)
	}
	_, err := servers[0].CreateCluster(t.Context(), raftpico.Timeouts{Min: 500 * time.Millisecond})
	require.NoError(t, err)
	for _, s := range servers[1:] {
		require.Eventually(t, func() bool { // it is refused where leadership changes hands
			_, err := servers[0].AddServer(t.Context(), s.Addr())
			return err == nil || errors.Is(err, raftpico.ErrServerExists)
		}, 20*time.Second, time.Millisecond)
	}
	_, err = servers[0].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	for _, s := range servers {
		require.NoError(t, s.Ready(t.Context()))
	}
	for _, s := range servers { // each: one that knows of fewer voters could not elect without the leader
		require.Eventually(t, func() bool {
			voters := 0
			for _, m := range s.Status().Members {
				if m.Role == "Voter" {
					voters++
				}
			}
			return voters == 3
		}, 20*time.Second, time.Millisecond)
	}

	network.Isolate(servers[0].Addr())
	require.Eventually(t, func() bool { return servers[1].Leader() != "" && servers[1].Leader() != servers[0].Addr() }, 20*time.Second, time.Millisecond)
	_, err = servers[1].Apply(t.Context(), machine.Command, 1)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return servers[0].Leader() == "" }, 20*time.Second, time.Millisecond)
	links := func(s *raftpico.Server) (n int) {
		for _, m := range s.Status().Members {
			if m.Linked {
				n++
			}
		}
		return n
	}
	for i, s := range servers { // pongs are missing
		require.Eventually(t, func() bool { return links(s) == min(i, 1) }, 20*time.Second, time.Millisecond)
	}
	network.Heal()
	require.Eventually(t, func() bool {
		out, err := raftpico.LocalQuery[int](t.Context(), servers[0], 0)
		return err == nil && out == 2
	}, 20*time.Second, 10*time.Millisecond)
}
