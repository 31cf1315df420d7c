package storage_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

const path = "/data/log.jsonl"

func id(term, index uint64) wire.EntryID { return wire.EntryID{Term: term, Index: index} }

func identity() *wire.Identity { return &wire.Identity{ClusterID: "c1", Key: "secret", NodeID: 1} }

func hard(term, vote, commit uint64) *wire.HardState {
	return &wire.HardState{Term: term, Vote: vote, Commit: commit}
}

func snapshot(term, index uint64) *wire.Snapshot {
	return &wire.Snapshot{LastIncluded: id(term, index), Voters: []uint64{1}, Learners: []uint64{5},
		Machines: wire.Machines{System: []byte(`{"members":[]}`), User: fmt.Appendf(nil, `"as of %d"`, index)}}
}

// founding is the line of a new cluster's first server.
func founding() *wire.Record {
	return &wire.Record{Identity: identity(), Snapshot: snapshot(1, 1), HardState: hard(1, 1, 1)}
}

// entries makes a run behind prev of: "start" a term, "empty", "conf", or the input of a command.
func entries(prev wire.EntryID, kinds ...string) *wire.LogEntries {
	run := &wire.LogEntries{Prev: prev}
	term := prev.Term
	for i, kind := range kinds {
		e := &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: new(prev.Index + 1 + uint64(i))}
		switch kind {
		case "start":
			term++
		case "empty":
		case "conf":
			data, err := proto.Marshal(wire.ConfChange(wire.AddVoter, 5))
			if err != nil {
				panic(err)
			}
			e.Type, e.Data = raftpb.EntryConfChangeV2.Enum(), data
		default:
			e.Data = fmt.Appendf(nil, `{"from":1,"boot":"b1","seq":%d,"time":7,"commands":[{"Apply":%q}]}`, i, kind)
		}
		e.Term = new(term)
		run.Entries = append(run.Entries, e)
	}
	return run
}

// story is a short life with every kind of record.
func story() []*wire.Record {
	return []*wire.Record{
		{Identity: identity()},
		{Snapshot: snapshot(1, 1), HardState: hard(1, 1, 1)},
		{HardState: hard(2, 1, 1), LogEntries: entries(id(1, 1), "start", "a", "conf")},
		{HardState: hard(3, 0, 2)},
		{HardState: hard(4, 5, 3), LogEntries: entries(id(2, 3), "start", "start", "empty", "b")},
		{HardState: hard(4, 5, 6), LogEntries: entries(id(4, 7), "c", strings.Repeat("long ", 300))},
	}
}

// show tells a state in one line, to compare.
func show(t testing.TB, s *storage.State) string {
	t.Helper()
	r := &wire.Record{Header: &s.Header, Identity: s.Identity, Snapshot: s.Snapshot, HardState: &s.HardState,
		LogEntries: &wire.LogEntries{Prev: s.Prev, Entries: s.Entries}}
	b, err := wire.AppendRecord(nil, r)
	require.NoError(t, err)
	return string(b)
}

// written is a file with the records, and the states that a reader sees after each of its lines.
func written(t testing.TB, records ...*wire.Record) (file []byte, states []string, ends []int) {
	t.Helper()
	fsys := memfs.New()
	log, state := open(t, fsys)
	for _, r := range records {
		states = append(states, show(t, state))
		ends = append(ends, int(log.Size()))
		require.NoError(t, log.Append(r))
		require.NoError(t, log.Close())
		log, state = open(t, fsys)
	}
	states = append(states, show(t, state))
	ends = append(ends, int(log.Size()))
	file, err := fsys.ReadFile(path)
	require.NoError(t, err)
	return file, states, ends
}

func open(t testing.TB, fsys storage.FS) (*storage.Log, *storage.State) {
	t.Helper()
	log, state, err := storage.Open(fsys, path, "k3x9")
	require.NoError(t, err)
	fill(t, log, state)
	return log, state
}

// fill reads the user's state into a snapshot.
func fill(t testing.TB, log *storage.Log, state *storage.State) {
	if state.Snapshot != nil {
		require.Nil(t, state.Snapshot.Machines.User)
		user, err := log.OpenState()
		require.NoError(t, err)
		require.Equal(t, state.Snapshot.LastIncluded, user.At)
		state.Snapshot.Machines.User, err = io.ReadAll(user)
		require.NoError(t, err)
		require.NoError(t, user.Close())
	}
}

// read opens and closes.
func read(t testing.TB, fsys storage.FS) string {
	t.Helper()
	log, state := open(t, fsys)
	require.NoError(t, log.Close())
	return show(t, state)
}

func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
