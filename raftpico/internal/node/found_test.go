package node_test

import (
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

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

// A SetVersion of the old cluster does in the new one what it has done there, whatever its members went through before: it
// needs all of them.
func TestRefoundFollowsTheMembers(t *testing.T) {
	const system = `{"min_election_timeout_ms":100,"max_election_timeout_ms":200,"members":{"1":{"addr":"a:1","instance":"i1"},"3":{"addr":"b:1","instance":"i3"}}}`
	old := node.Stored{Identity: &wire.Identity{ClusterID: "old", Key: "k", NodeID: 1}, Snapshot: &wire.Snapshot{LastIncluded: wire.EntryID{Term: 2, Index: 9},
		Voters: []uint64{1, 3}, Machines: wire.Machines{System: json.RawMessage(system)}}, HardState: wire.HardState{Term: 2, Commit: 9}}
	put := func(kind raftpb.EntryType, data []byte) {
		old.Entries = append(old.Entries, &raftpb.Entry{Index: new(10 + uint64(len(old.Entries))), Term: new(uint64(2)), Type: kind.Enum(), Data: data})
	}
	logs := func(c wire.System) {
		put(raftpb.EntryNormal, wire.AppendBatch(nil, 1, "boot", 0, 0, append(wire.AppendCommand([]byte{'['}, &wire.Command{System: &c}), ']')))
	}
	step := func(kind raftpb.ConfChangeType, id uint64) {
		data, err := proto.Marshal(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: kind.Enum(), NodeId: &id}}})
		require.NoError(t, err)
		put(raftpb.EntryConfChangeV2, data)
	}
	logs(wire.System{SetVoter: &wire.SetVoter{Addr: "a:1"}})
	step(wire.AddLearner, 1)
	step(wire.AddLearner, 1)
	logs(wire.System{SetVoter: &wire.SetVoter{Addr: "a:1", Voter: true}})
	step(wire.AddVoter, 1)
	logs(wire.System{RemoveServer: &wire.RemoveServer{Addr: "b:1"}})
	step(wire.RemoveNode, 3)
	logs(wire.System{SetVersion: &wire.SetVersion{Version: 4, Members: []uint64{1}}})

	anew, err := node.Refound(old, node.Founder{ClusterID: "c", Key: "k", Instance: "i", Addr: "a:1"})
	require.NoError(t, err)
	last, err := wire.DecodeBatch(anew.Entries[len(anew.Entries)-1].GetData())
	require.NoError(t, err)
	require.Equal(t, 4, last.Commands[0].System.SetVersion.Version)
}
