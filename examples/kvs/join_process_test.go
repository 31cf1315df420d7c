//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/internal/ports"
	"github.com/raftpico/go/raftpico"
)

// joiners are three servers of one command line but for their addresses and files.
type joiners [3]*server

func newJoiners(t *testing.T) (all joiners) {
	dir := t.TempDir()
	for i := range all {
		all[i] = &server{addr: ports.Free(t, 1)[0], file: filepath.Join(dir, fmt.Sprintf("server-%d.jsonl", i))}
	}
	return all
}

func (all joiners) list() string {
	var addrs []string
	for _, s := range all {
		addrs = append(addrs, s.addr)
	}
	return strings.Join(addrs, ",")
}

// begin starts one, which listens on all addresses of the machine.
func (all joiners) begin(t *testing.T, i int) {
	t.Helper()
	s := all[i]
	_, port, _ := strings.Cut(s.addr, ":")
	s.process = launch(t, command(t, "kvs", "-join", all.list(), "-bootstrap", "3", "-listen", "0.0.0.0:"+port, "-advertise", s.addr, s.file))
}

// whole waits until all are full members, each at its address.
func (all joiners) whole(t *testing.T) {
	t.Helper()
	for _, s := range all {
		waitFor(t, s.addr+" to know three members where they are", func() bool {
			require.True(t, s.running(), "%s has ended: %s", s.addr, s.stderr())
			state, err := s.state(false)
			if err != nil || voters(state) != 3 || state.Leader == "" {
				return false
			}
			for _, m := range state.Members {
				if !strings.Contains(all.list(), m.Addr) {
					return false
				}
			}
			return true
		})
	}
}

func (all joiners) put(t *testing.T, i int, value string) {
	t.Helper()
	waitFor(t, "a write", func() bool {
		return call(all[i].addr, "Apply", map[string]any{"kind": "Command", "input": map[string]any{"Put": []string{"k", value}}}, nil) == nil
	})
}

func (all joiners) get(t *testing.T, i int) (value string) {
	t.Helper()
	waitFor(t, "a query", func() bool {
		return call(all[i].addr, "Apply", map[string]any{"kind": "Query", "input": map[string]string{"Get": "k"}}, &value) == nil
	})
	return value
}

// Three servers are started one after the other, by the same line; one loses its file later. There is one cluster, all the time.
func TestServersOfOneCommandLineMakeOneCluster(t *testing.T) {
	all := newJoiners(t)
	for _, i := range []int{2, 0, 1} {
		for _, s := range all {
			if s.process == nil {
				continue
			}
			state, err := s.state(false)
			if err == nil {
				require.Nil(t, state.NodeID, "%s belongs to a cluster, and not all are there", s.addr)
			}
		}
		all.begin(t, i)
		time.Sleep(300 * time.Millisecond) // as on machines that don't start at once
	}
	all.whole(t)
	all.put(t, 1, "one")
	state, err := all[0].state(false)
	require.NoError(t, err)
	cluster := state.ClusterID

	wiped := all[0]
	wiped.kill(t)
	require.NoError(t, os.Remove(wiped.file))
	all.begin(t, 0)
	waitFor(t, "a word that it must be removed", func() bool { return strings.Contains(wiped.stderr(), "remove the member first") })
	state, err = wiped.state(false)
	require.NoError(t, err)
	require.Nil(t, state.NodeID)
	waitFor(t, "its removal", func() bool {
		err := call(all[1].addr, "RemoveServer", map[string]string{"addr": wiped.addr}, nil)
		return err == nil || errors.Is(err, raftpico.ErrNotMember)
	})
	all.whole(t)
	require.Equal(t, "one", all.get(t, 0))
	state, err = wiped.state(false)
	require.NoError(t, err)
	require.Equal(t, cluster, state.ClusterID)
}

// All three are started at other addresses, at once, with their files: they find each other by -join.
func TestServersThatHaveAllMovedFindEachOther(t *testing.T) {
	all := newJoiners(t)
	for i := range all {
		all.begin(t, i)
	}
	all.whole(t)
	all.put(t, 0, "before")
	for _, s := range all {
		s.kill(t)
		s.addr = ports.Free(t, 1)[0]
	}
	for i := range all {
		all.begin(t, i)
	}
	all.whole(t)
	require.Equal(t, "before", all.get(t, 2))
	all.put(t, 1, "after")
	require.Equal(t, "after", all.get(t, 0))
}
