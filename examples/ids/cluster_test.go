package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/examples/ids/internal/ids"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

func TestIDsAreUniqueAndInOrderWhileLeadersGo(t *testing.T) {
	c := memnet.Start(t, 3, ids.New)
	l := startLoad(t, client.Options{Dial: c.Dialer("client:1"), Silence: 500 * time.Millisecond}, addrs(c.Servers)...)
	const some = 500
	l.await(some)
	for range 2 {
		c.Isolate(c.Leader().Addr()) // NB: from the servers and from the callers
		c.Leader()
		l.await(some)
		c.Heal()
		l.await(some)
	}
	require.NoError(t, c.Leader().Close())
	l.await(some)
	l.check()
}

func addrs(servers []*raftpico.Server) (list []string) {
	for _, s := range servers {
		list = append(list, s.Addr())
	}
	return list
}
