package node_test

import (
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// recover makes of the server's file that of another cluster's first server, and starts it.
func (s *server) recover() {
	if s.node != nil {
		s.crash()
	}
	t := s.w.t
	s.wipes++ // it has another instance
	from, state, err := storage.Read(s.fs, "log")
	require.NoError(t, err)
	defer from.Close()
	next, err := node.Refound(node.Stored{Instance: state.Header.Instance, Identity: state.Identity, Snapshot: state.Snapshot,
		HardState: state.HardState, Prev: state.Prev, Entries: state.Entries},
		node.Founder{ClusterID: "anew" + s.name, Key: "keyanew", Instance: s.instance(), Addr: s.addr})
	require.NoError(t, err)
	disk := memfs.New()
	require.NoError(t, storage.Make(disk, "log", next.Instance, func(to *storage.Replacement) error {
		user, err := from.OpenState()
		require.NoError(t, err)
		require.NoError(t, to.Write(&wire.Record{Identity: next.Identity}))
		require.NoError(t, to.WriteSnapshot(next.Snapshot, func(w io.Writer) error { _, err := io.Copy(w, user); return err }))
		return node.WriteEntries(to, next.HardState, next.Prev, next.Entries)
	}))
	s.fs = disk
	s.start()
}

// Each command of the framework's own is either about the servers of a cluster, and does nothing in another one, or it is
// not. Whoever adds a command decides: what is not named in aboutServers is.
func TestEachCommandIsAboutServersOrNot(t *testing.T) {
	about := map[string]bool{"AddServer": true, "RemoveServer": true, "SetVersion": true, "SetVoter": true, "MoveServer": true,
		"TakeSnapshot": false, "CheckState": false, "Timer": false, "OpenSession": false, "KeepSession": false, "CloseSession": false, "Abandon": false, "Configure": false}
	fields := reflect.TypeFor[wire.System]()
	require.Equal(t, fields.NumField(), len(about))
	for i := range fields.NumField() {
		f := fields.Field(i)
		var c wire.System
		reflect.ValueOf(&c).Elem().Field(i).Set(reflect.New(f.Type.Elem()))
		is, known := about[f.Name]
		require.True(t, known, "%s", f.Name)
		require.Equal(t, is, node.AboutServers(&c), f.Name)
		require.Equal(t, f.Name, c.Kind())
	}
}

// Each part of the system machine is either taken over by another cluster, or is about servers, and is not.
func TestEachPartOfTheSystemMachineIsTakenOverOrNot(t *testing.T) {
	full := `{"min_election_timeout_ms":100,"max_election_timeout_ms":200,"members":{"1":{"addr":"a:1","instance":"i1"}},"leaving":{"2":{"addr":"b:1","instance":"i2"}},` +
		`"parting":{"3":{"addr":"c:1","instance":"i3"}},"removed":["i4"],"version":7,"origins":[{"cluster_id":"old","until":9}],"removed_dead":3,"session_base":4294967296,"level":1,"lease_reads":true,` +
		`"sessions":[{"id":12,"ttl":3600000,"last":1700000000000,"acked":4}]}`
	require.Equal(t, node.SystemMembers, membersOf(t, full), "a new part is to be decided on")
	bare, err := node.Bare(json.RawMessage(full))
	require.NoError(t, err)
	require.JSONEq(t, `{"min_election_timeout_ms":100,"max_election_timeout_ms":200,"members":{},"version":7,"level":1,"lease_reads":true,`+
		`"sessions":[{"id":12,"ttl":3600000,"last":1700000000000,"acked":4}]}`, string(bare))
}

func membersOf(t *testing.T, text string) int {
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &all))
	return len(all)
}

// What can't be gone on from is refused.
func TestRefoundNeedsAState(t *testing.T) {
	founder := node.Founder{ClusterID: "c", Key: "k", Instance: "i", Addr: "a:1"}
	snapshot := func(term, index uint64, system string) node.Stored {
		return node.Stored{Snapshot: &wire.Snapshot{LastIncluded: wire.EntryID{Term: term, Index: index}, Machines: wire.Machines{System: json.RawMessage(system)}}}
	}
	const system = `{"min_election_timeout_ms":100,"max_election_timeout_ms":200,"members":{}}`
	for _, bad := range []node.Stored{{}, snapshot(0, 1, system), snapshot(1, 0, system), snapshot(1, 1<<62, system), snapshot(1, 1, `{}`), snapshot(1, 1, `null`),
		snapshot(1, 1, `{"min_election_timeout_ms":100,"max_election_timeout_ms":200,"members":{},"level":1000}`)} {
		_, err := node.Refound(bad, founder)
		require.Error(t, err, "%+v", bad)
	}
	good, err := node.Refound(snapshot(3, 7, system), founder)
	require.NoError(t, err)
	require.Equal(t, wire.HardState{Term: 3, Commit: 7}, good.HardState)
	require.Equal(t, wire.Identity{ClusterID: "c", Key: "k", NodeID: 1}, *good.Identity)
	require.Equal(t, []uint64{1}, good.Snapshot.Voters)
	require.Empty(t, good.Snapshot.Learners)

	damaged := snapshot(3, 7, system)
	damaged.Entries = []*raftpb.Entry{{Index: new(uint64(8)), Term: new(uint64(3)), Type: raftpb.EntryNormal.Enum(), Data: []byte("{")}}
	_, err = node.Refound(damaged, founder)
	require.ErrorContains(t, err, "entry 8")
	require.False(t, slices.Equal(damaged.Entries[0].GetData(), nil), "what was given stays")
}
