package raftpico_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

func TestTakeSnapshotShortensEveryLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers := make([]*raftpico.Server, 3)
	file := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	for i := range servers {
		servers[i] = startServer(t, machine.JSON(&anything{}), func(o *raftpico.Options) { o.File = file(i) })
	}
	joinAll(t, servers, raftpico.Timeouts{Min: 2 * time.Second, Max: 4 * time.Second}) // megabytes take their time
	for i := range 6 {                                                                 // more than what is kept before a snapshot
		applies(t, servers[i%3], strings.Repeat(fmt.Sprint(i), 1<<20))
	}
	client, err := jsonrpc.Dial(t.Context(), servers[1].Addr())
	require.NoError(t, err)
	defer client.Close()
	var taken struct {
		Index uint64 `json:"snapshot_index"`
	}
	settles(t, func() error { return client.Call(t.Context(), "TakeSnapshot", nil, &taken) })
	require.Greater(t, taken.Index, uint64(6))
	for i, s := range servers {
		waitFor(t, func() bool {
			state, err := s.State(t.Context(), false)
			return err == nil && state.Snapshot.Index == taken.Index
		})
		report, err := raftpico.InspectLog(file(i), nil)
		require.NoError(t, err)
		require.NoError(t, report.Refused)
		require.Equal(t, taken.Index, report.Snapshot)
		require.Greater(t, report.First, uint64(3), "old entries are gone")
		require.Less(t, report.Bytes, int64(6<<20))
	}
	applies(t, servers[2], "last")
	for _, s := range servers {
		require.NoError(t, s.Close())
	}
	again := startServer(t, machine.JSON(&anything{}), func(o *raftpico.Options) { o.File, o.Addr = file(0), servers[0].Addr() })
	other := startServer(t, machine.JSON(&anything{}), func(o *raftpico.Options) { o.File, o.Addr = file(1), servers[1].Addr() })
	settles(t, func() error { _, err := other.Apply(t.Context(), machine.Query, 0); return err })
	require.Contains(t, string(whole(t, again).Machines.User), "last")
}

// TestLogCompactsItself: under load, with a cluster that goes on, also for a server that joins meanwhile.
func TestLogCompactsItself(t *testing.T) {
	t.Parallel()
	small := func(o *raftpico.Options) { o.Limits.CompactAfter = 64 << 10 }
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	a := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { small(o); o.File = file })
	b := startServer(t, machine.JSON(&counter{}), small)
	c := startServer(t, machine.JSON(&counter{}), func(o *raftpico.Options) { small(o); o.File, o.InMemory = "", true })
	_, err := a.CreateCluster(t.Context(), still)
	require.NoError(t, err)
	const clients, each = 8, 500
	errs := make(chan error, clients)
	for range clients {
		go func() { // ends after its commands
			for range each {
				if _, err := a.Apply(ample(t), machine.Command, 1); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for _, s := range []*raftpico.Server{b, c} {
		_, err := a.AddServer(t.Context(), s.Addr())
		require.NoError(t, err)
	}
	for range clients {
		require.NoError(t, <-errs)
	}
	for _, s := range []*raftpico.Server{a, b, c} {
		require.Equal(t, fmt.Sprint(clients*each), ask(t, s, machine.Query, "0"))
		state, err := s.State(t.Context(), false)
		require.NoError(t, err)
		require.Greater(t, state.Snapshot.Index, uint64(20))
	}
	log, err := os.ReadFile(file)
	require.NoError(t, err)
	require.LessOrEqual(t, bytes.Count(log, []byte(`"Snapshot"`)), 1)
	_, err = os.Stat(file + ".new")
	if err == nil {
		t.Log("a new file is under way")
	}
	require.NoError(t, a.Close())
	_, err = os.Stat(file + ".new")
	require.ErrorIs(t, err, os.ErrNotExist, "nothing is left behind")
}
