package node

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// versions are those of the servers' machines. The cluster's is another: it is part of the system machine, and tells
// which behaviour all machines show. The leader raises it when every member knows more, by an entry: so they change
// at the same command.
//
// Invariant: a server's own version >= the cluster's, or it stops. What others say is true while the link is up, for it
// breaks when the other starts anew. Should one start with an older machine in between, that one stops.
type versions struct {
	own     int
	peers   map[uint64]int // of those that our links are up to
	raising bool           // an entry of ours is under way
}

// MachineVersion is the newest version that a machine knows.
func MachineVersion(m machine.Machine) int {
	if v, ok := m.(machine.Versioned); ok {
		return v.Version()
	}
	return 0
}

// CheckVersion tells whether a machine can go on from a snapshot, as far as versions tell.
func CheckVersion(m machine.Machine, snap *wire.Snapshot) error {
	return checkVersion(MachineVersion(m), snap)
}

func checkVersion(own int, snap *wire.Snapshot) error {
	version, err := SnapshotVersion(snap)
	if err != nil {
		return err
	}
	return behind(own, version)
}

// SnapshotVersion is the cluster's version of the machine as of a snapshot. It fails if a newer release than this one is needed.
func SnapshotVersion(snap *wire.Snapshot) (int, error) {
	var s struct {
		Version int `json:"version"`
		Level   int `json:"level"`
	}
	if err := json.Unmarshal(snap.Machines.System, &s); err != nil {
		return 0, fmt.Errorf("node: decode the version of a snapshot: %w", err)
	}
	return s.Version, beyond(s.Level)
}

// behind is the error of a server whose machine is older than the cluster's version.
func behind(own, cluster int) error {
	if own >= cluster {
		return nil
	}
	return fmt.Errorf("node: this server's machine is version %d, the cluster's is %d: start it with the new build", own, cluster)
}

// raiseVersion proposes the version that all members know, if it is higher.
func (n *Node) raiseVersion() {
	v, s := &n.versions, n.state.system
	if v.own <= s.Version || v.raising || n.stopping || n.removed || !n.leading() {
		return
	}
	lowest := v.own
	voices := slices.Concat(s.ids(), slices.Sorted(maps.Keys(s.Leaving)), slices.Sorted(maps.Keys(s.Parting)))
	for _, id := range voices {
		if id == n.identity.NodeID {
			continue
		}
		version, up := v.peers[id]
		if !up {
			return
		}
		lowest = min(lowest, version)
	}
	if lowest > s.Version {
		n.runErrand(&v.raising, wire.System{SetVersion: &wire.SetVersion{Version: lowest, Members: s.ids()}})
	}
}

// raise applies a SetVersion. Somebody added since it was proposed may be older, and would have to stop.
func (s *system) raise(c *wire.SetVersion) bool {
	known := !slices.ContainsFunc(s.ids(), func(id uint64) bool { return !slices.Contains(c.Members, id) })
	if !known || c.Version <= s.Version {
		return false
	}
	s.Version = c.Version
	return true
}

// tooNew refuses a command that the cluster's version of the machine does not know.
func (n *Node) tooNew(input json.RawMessage) error {
	cluster := n.state.system.Version
	if n.versions.own <= cluster {
		return nil
	}
	m, ok := n.state.machine.(machine.Needer)
	if !ok {
		return nil
	}
	if needs := m.Needs(input); needs > cluster {
		return fmt.Errorf("it needs version %d of the machine; the cluster's is %d until all its servers run a newer build", needs, cluster)
	}
	return nil
}
