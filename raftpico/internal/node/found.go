package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-json"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/raftpico/go/raftpico/internal/wire"
)

// A cluster may go on from the state of another one: that of a backup, or of one server's log when the majority is lost
// for ever. It is a new cluster, with a new id and a new key, and its first server has a new instance. So no server of
// the old one can take part in it, whatever it remembers: its handshake fails. The old servers are on no list of the
// new cluster, and none of their ids means anything in it.
//
// Places in the log keep their numbers, since tickets, sessions and machines know them. So an entry that is about the
// old cluster's servers is not left out: one that does nothing takes its place, at the same time.

// Founder is the first server of such a cluster.
type Founder struct {
	ClusterID, Key string // new, drawn at random
	Instance, Addr string // of the server, the former new too
	SessionBase    uint64 // drawn at random, a multiple of 2³² below 2⁵³: clients know session ids of the old cluster
}

// founderID is its id. No other server of the cluster gets it: ids are log indexes, and those go on.
const founderID = 1

// Refound is the log of a founder that goes on from old, a log or no more than a snapshot. All entries behind the
// snapshot stay, also those of which nobody knows whether they were committed: a cluster of one commits them. Old is
// left as it is. The user's state is the caller's to carry over.
func Refound(old Stored, f Founder) (Stored, error) {
	if old.Snapshot == nil {
		return Stored{}, errNoState
	}
	from, err := decodeSystem(old.Snapshot.Machines.System)
	if err == nil {
		err = beyond(from.Level)
	}
	if err != nil {
		return Stored{}, err
	}
	at := old.Snapshot.LastIncluded
	if !validID(at.Index) || at.Term == 0 {
		return Stored{}, fmt.Errorf("node: a state as of entry %d of term %d, which there can't be", at.Index, at.Term)
	}
	entries := behindSnapshot(old)
	system := from.bare()
	system.Level, system.SessionBase = max(from.Level, originLevel), f.SessionBase
	if len(entries) > 0 && old.Identity != nil {
		last := entries[len(entries)-1].GetIndex()
		system.Origins = append(slices.Clone(from.Origins), Origin{old.Identity.ClusterID, last, from.SessionBase})
	}
	r := renewal{members: from, voters: slices.Clone(old.Snapshot.Voters)}
	if entries, err = r.renew(entries); err != nil {
		return Stored{}, err
	}
	identity := wire.Identity{ClusterID: f.ClusterID, Key: f.Key, NodeID: founderID}
	system.Members[identity.NodeID] = Member{Addr: f.Addr, Instance: f.Instance}
	snapshot := *old.Snapshot
	snapshot.Voters, snapshot.Learners = []uint64{identity.NodeID}, []uint64{}
	snapshot.Machines = wire.Machines{System: system.encode()}
	return Stored{
		Instance: f.Instance, Identity: &identity, Snapshot: &snapshot, StateSize: old.StateSize,
		HardState: wire.HardState{Term: max(old.HardState.Term, at.Term), Commit: max(old.HardState.Commit, at.Index)},
		Prev:      at, Entries: entries,
	}, nil
}

// Survey is what a log tells of its cluster, when nobody is there to be asked.
type Survey struct {
	Addr     string   // at which the members knew its server; empty: it was no member any more
	Others   []string // addresses of the other members, as of the log's end
	Term     uint64   // of the last entry; the log that ends in a later term, or in the same one at a higher index, has more
	Last     uint64   // index of the last entry
	Time     int64    // of the last entry, Unix milliseconds
	Commit   uint64   // up to here entries are certainly committed
	Certain  int64    // the time of these
	Doubtful int      // commands behind that: nobody knows whether they were committed, and acknowledged
}

// Look surveys a log. Old is left as it is.
func Look(old Stored) (Survey, error) {
	if old.Snapshot == nil || old.Identity == nil {
		return Survey{}, errNoState
	}
	members, err := decodeSystem(old.Snapshot.Machines.System)
	if err != nil {
		return Survey{}, err
	}
	at := old.Snapshot.LastIncluded
	s := Survey{Term: at.Term, Last: at.Index, Time: old.Snapshot.Time, Commit: max(old.HardState.Commit, at.Index), Certain: old.Snapshot.Time}
	r := renewal{members: members, voters: slices.Clone(old.Snapshot.Voters)}
	for _, e := range behindSnapshot(old) {
		if _, err := r.entry(e); err != nil {
			return Survey{}, fmt.Errorf("node: entry %d: %w", e.GetIndex(), err)
		}
		s.Term, s.Last = e.GetTerm(), e.GetIndex()
		if isStep(e) || len(e.GetData()) == 0 {
			continue
		}
		batch, err := wire.DecodeBatch(e.GetData())
		if err != nil {
			return Survey{}, fmt.Errorf("node: entry %d: %w", e.GetIndex(), err)
		}
		s.Time = max(s.Time, batch.Time)
		if e.GetIndex() <= s.Commit {
			s.Certain = s.Time
		} else {
			s.Doubtful += len(batch.Commands)
		}
	}
	for _, id := range members.ids() {
		if m := members.Members[id]; id == old.Identity.NodeID {
			s.Addr = m.Addr
		} else {
			s.Others = append(s.Others, m.Addr)
		}
	}
	return s, nil
}

var errNoState = errors.New("node: there is no state to go on from: the server belonged to no cluster, or had not learned the state yet")

// behindSnapshot are the entries that the snapshot does not contain.
func behindSnapshot(s Stored) []*raftpb.Entry {
	entries := s.Entries
	for len(entries) > 0 && entries[0].GetIndex() <= s.Snapshot.LastIncluded.Index {
		entries = entries[1:]
	}
	return entries
}

// Bare is the system machine of a snapshot without its servers: what another cluster takes over.
func Bare(encoded json.RawMessage) (json.RawMessage, error) {
	s, err := decodeSystem(encoded)
	if err != nil {
		return nil, err
	}
	return s.bare().encode(), nil
}

// bare is a system without servers, and what is about them.
func (s *system) bare() *system {
	b := newSystem(s.Timeouts)
	b.Version, b.Level, b.LeaseReads, b.sessions = s.Version, s.Level, s.LeaseReads, s.sessions
	return b
}

// renewal takes what is about the old servers out of entries. It follows their member list, since that decides what an
// entry has done.
type renewal struct {
	members *system
	voters  []uint64
}

func (r *renewal) renew(entries []*raftpb.Entry) ([]*raftpb.Entry, error) {
	renewed := make([]*raftpb.Entry, len(entries))
	for i, e := range entries {
		var err error
		if renewed[i], err = r.entry(e); err != nil {
			return nil, fmt.Errorf("node: entry %d: %w", e.GetIndex(), err)
		}
	}
	return renewed, nil
}

func (r *renewal) entry(e *raftpb.Entry) (*raftpb.Entry, error) {
	if isStep(e) {
		return empty(e), r.step(e)
	}
	if len(e.GetData()) == 0 {
		return e, nil
	}
	batch, err := wire.DecodeBatch(e.GetData())
	if err != nil {
		return nil, err
	}
	c := batch.Commands[0].System // it stands alone
	if c == nil || !aboutServers(c) {
		return e, nil
	}
	instead := wire.SetVersion{Members: []uint64{founderID}} // NB: of version 0 it does nothing, but its time counts
	if done, _, _ := r.members.change(e.GetIndex(), c, r.voters); done != "" && c.SetVersion != nil {
		instead.Version = c.SetVersion.Version
	}
	commands := append(wire.AppendCommand([]byte{'['}, &wire.Command{System: &wire.System{SetVersion: &instead}}), ']')
	return &raftpb.Entry{Type: e.Type, Term: e.Term, Index: e.Index,
		Data: wire.AppendBatch(nil, batch.From, batch.Boot, batch.Seq, batch.Time, commands)}, nil
}

// empty takes the place of a step of the configuration.
func empty(e *raftpb.Entry) *raftpb.Entry {
	return &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Term: e.Term, Index: e.Index}
}

// aboutServers tells whether a command is about the servers of its cluster, and means nothing elsewhere: all but those named
// here are.
func aboutServers(c *wire.System) bool {
	return c.Configure == nil && c.TakeSnapshot == nil && c.CheckState == nil && c.Timer == nil && c.Abandon == nil &&
		c.OpenSession == nil && c.KeepSession == nil && c.CloseSession == nil
}

// step follows a step of the configuration.
func (r *renewal) step(e *raftpb.Entry) error {
	cc := new(raftpb.ConfChangeV2)
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		return err
	}
	id := cc.GetChanges()[0].GetNodeId()
	voted := slices.Contains(r.voters, id)
	r.voters = slices.DeleteFunc(r.voters, func(v uint64) bool { return v == id })
	switch cc.GetChanges()[0].GetType() {
	case wire.AddVoter:
		r.voters = append(r.voters, id)
	case wire.AddLearner:
		r.members.learns(id, voted)
	case wire.RemoveNode:
		r.members.left(id)
	}
	return nil
}
