package storage_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// A leader may replace entries by fewer of a later term, and a snapshot may let a new file take the log's place before
// anybody has looked: then their indexes are not above what was seen, and they are news all the same.
func TestWhatALaterLeaderHasWrittenIsNewsInANewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := func(snapshot, term, last uint64) {
		t.Helper()
		require.NoError(t, storage.Make(storage.OS, path+".new", "i", func(to *storage.Replacement) error {
			at := wire.EntryID{Term: 1, Index: snapshot}
			require.NoError(t, to.Write(&wire.Record{Identity: &wire.Identity{ClusterID: "c", Key: "k", NodeID: 1}}))
			w := to.BeginState(&wire.Snapshot{LastIncluded: at, Voters: []uint64{1}, Machines: wire.Machines{System: json.RawMessage(`{}`)}})
			_, err := w.Write([]byte("1"))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			run := &wire.LogEntries{Prev: at}
			for index := snapshot + 1; index <= last; index++ {
				run.Entries = append(run.Entries, &raftpb.Entry{Term: &term, Index: &index, Type: raftpb.EntryNormal.Enum()})
			}
			return to.Write(&wire.Record{HardState: &wire.HardState{Term: term, Commit: snapshot}, LogEntries: run})
		}))
		require.NoError(t, storage.OS.Rename(path+".new", path))
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := make(chan wire.EntryID, 100)
	ended := make(chan error, 1)
	log(1, 1, 10)
	go func() { // ends when it is stopped
		ended <- storage.Follow(ctx, storage.OS, path, time.Millisecond, func(l *storage.Line) error {
			if l.Record != nil && l.Record.LogEntries != nil {
				e := l.Record.LogEntries.Entries[len(l.Record.LogEntries.Entries)-1]
				seen <- wire.EntryID{Term: e.GetTerm(), Index: e.GetIndex()}
			}
			return nil
		})
	}()
	next := func() wire.EntryID {
		select {
		case id := <-seen:
			return id
		case <-time.After(20 * time.Second):
			require.FailNow(t, "nothing new was seen")
		}
		return wire.EntryID{}
	}
	require.Equal(t, wire.EntryID{Term: 1, Index: 10}, next())
	log(2, 2, 5)
	require.Equal(t, wire.EntryID{Term: 2, Index: 5}, next())
	log(3, 2, 5) // has nothing new
	log(4, 2, 6)
	require.Equal(t, wire.EntryID{Term: 2, Index: 6}, next())
	stop()
	require.NoError(t, <-ended)
}
