package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// TestNothingFollowsAnInstalledSnapshot: a line that is appended while a snapshot comes from the leader is gone with the
// old log. It can hardly happen, since a leader that sends a snapshot sends no entries meanwhile; so no seed shows it.
func TestNothingFollowsAnInstalledSnapshot(t *testing.T) {
	fs := memfs.New()
	log, _, err := storage.Open(fs, "log", "instance")
	require.NoError(t, err)
	identity := &wire.Identity{ClusterID: "cluster", Key: "key", NodeID: 5}
	require.NoError(t, log.Append(&wire.Record{Identity: identity}))
	anew, err := log.BeginAnew()
	require.NoError(t, err)
	snapshot := &wire.Snapshot{LastIncluded: wire.EntryID{Term: 3, Index: 7}, Voters: []uint64{1}, Learners: []uint64{5},
		Machines: wire.Machines{System: []byte(`{}`), User: []byte(`"user"`)}}
	require.NoError(t, anew.Write(&wire.Record{Identity: identity}))
	require.NoError(t, anew.Write(&wire.Record{Snapshot: snapshot}))
	require.NoError(t, log.Append(&wire.Record{HardState: &wire.HardState{Term: 2, Vote: 1}}))
	require.NoError(t, anew.Write(&wire.Record{HardState: &wire.HardState{Term: 3, Commit: 7}}))
	old, err := log.Commit(anew)
	require.NoError(t, err)
	require.NoError(t, old.Close())
	require.NoError(t, log.Close())

	log, state, err := storage.Open(fs, "log", "instance")
	require.NoError(t, err)
	require.Equal(t, wire.HardState{Term: 3, Commit: 7}, state.HardState)
	require.Equal(t, snapshot.LastIncluded, state.Snapshot.LastIncluded)
	require.Empty(t, state.Entries)
	require.NoError(t, log.Close())
}
