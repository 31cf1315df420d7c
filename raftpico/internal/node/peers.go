package node

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// peers is what this server knows of the others beyond the member list.
type peers struct {
	up      map[uint64]bool          // our link to it is authenticated and alive
	acked   map[uint64]time.Duration // when it last acknowledged something to us as the leader
	warned  map[string]time.Duration // of messages that were dropped, when: past.go
	guests  map[uint64]Peer          // servers with ids above our applied index: maybe members that we have not read of yet
	linked  []Peer                   // as last told to Env.SetPeers
	where   whereabouts              // moved.go
	strange bool                     // the list has this server at another address; it has been logged
	changes uint64                   // of the member list and of up: how many, or more (standing.go)

	commitBefore uint64 // the commit index at the last Tick: a learner that has it has caught up
	walk         walk
}

// Verdict is what a server says to another that wants to be heard as a member.
type Verdict uint8

const (
	Welcome  Verdict = iota // it is a member, or may be one
	Stranger                // we belong to no cluster
	Mistaken                // the other's cluster is another, or it means another server
	Removed                 // it was a member, and is none any more
)

// Hello judges a server that has proved to know the cluster's key. Ids are log indexes. So a server whose id is above
// our applied index is welcome: it may have been added by an entry that we have not applied yet.
func (n *Node) Hello(clusterID string, from Peer, to Peer) Verdict {
	switch {
	case n.identity == nil:
		return Stranger
	case clusterID != n.identity.ClusterID || to.ID != n.identity.NodeID || to.Instance != n.instance:
		return Mistaken
	case from.ID == n.identity.NodeID || !validID(from.ID):
		return Mistaken
	}
	if m, known := n.state.system.lookup(from.ID); known {
		if m.Instance != from.Instance {
			return Mistaken // somebody else under its id: a wiped server has another instance
		}
		if n.raft.raw == nil {
			return Stranger // it has retired
		}
		n.proved(from)
		return Welcome
	}
	if from.ID <= n.state.applied.Index {
		return Removed // also by a server that has retired: who was removed before may need its word
	}
	if n.raft.raw == nil {
		return Stranger
	}
	if _, known := n.peers.guests[from.ID]; known || len(n.peers.guests) < maxGuests {
		n.peers.guests[from.ID] = from
		n.linkPeers()
	}
	return Welcome
}

// maxGuests bounds how many servers that know the key can make us dial them.
const maxGuests = 64

// known tells whether messages of id may be stepped; see Hello.
func (n *Node) known(id uint64) bool {
	if _, ok := n.state.system.lookup(id); ok {
		return true
	}
	return id > n.state.applied.Index && validID(id)
}

// PeerUp tells that our link to id can be sent to, the version of its machine, and what its release can read (wire.Level).
func (n *Node) PeerUp(id uint64, version, level int) {
	n.peers.up[id], n.versions.peers[id], n.levels[id] = true, version, level
	n.peers.changes++
}

// PeerDown tells that our link to id is gone, with all that it had not sent.
func (n *Node) PeerDown(id uint64) {
	delete(n.peers.up, id)
	n.peers.changes++
	delete(n.versions.peers, id)
	delete(n.hashes.others, id)
	n.notices.forget(id)
	n.reads.questions.gone(id)
	for _, b := range n.commands.sent {
		b.astray = b.astray || b.to == id
	}
	if n.raft.raw == nil || !n.inConfiguration(id) {
		return
	}
	n.raft.raw.ReportUnreachable(id)
	n.SnapshotLost(id)
}

// SnapshotLost tells that a snapshot sent to id did not get through. NB: Without this the library would wait for ever.
func (n *Node) SnapshotLost(id uint64) {
	n.counts.snapshotsLost++
	n.reportSnapshot(id, raft.SnapshotFailure)
}

// SnapshotDelivered tells that id says that it has installed a snapshot sent to it.
func (n *Node) SnapshotDelivered(id uint64) {
	n.counts.snapshotsSent++
	n.reportSnapshot(id, raft.SnapshotFinish)
}

func (n *Node) reportSnapshot(id uint64, status raft.SnapshotStatus) {
	if n.raft.raw != nil && n.inConfiguration(id) {
		n.raft.raw.ReportSnapshot(id, status)
	}
}

// checkAddr tells, once, that the list has this server at another address than it was started at.
func (n *Node) checkAddr() {
	m, member := n.state.system.Members[n.identity.NodeID]
	if !member || m.Addr == n.cfg.Addr || n.peers.strange {
		return
	}
	n.peers.strange = true
	n.log.Info("this server has moved; the member list follows when it finds the leader", "listed", m.Addr, "started", n.cfg.Addr)
}

// linkPeers tells the environment whom to keep links to, when that has changed: members, those that leave, and guests.
// All servers of the applied Raft configuration are among them. It follows each change of the member list.
func (n *Node) linkPeers() {
	n.peers.changes++
	n.forgetPlaces()
	n.forgetLevels()
	n.checkAddr()
	var linked []Peer
	s := n.state.system
	for _, list := range []map[uint64]Member{s.Members, s.Leaving, s.Parting} {
		for id, m := range list {
			linked = append(linked, n.peer(id, m))
		}
	}
	for _, guest := range n.peers.guests {
		linked = append(linked, guest)
	}
	linked = slices.DeleteFunc(linked, func(p Peer) bool { return p.ID == n.identity.NodeID })
	slices.SortFunc(linked, func(a, b Peer) int { return int(a.ID) - int(b.ID) })
	if n.raft.raw == nil {
		linked = nil
	}
	if !slices.Equal(linked, n.peers.linked) {
		n.peers.linked = linked
		n.env.SetPeers(linked)
	}
}

// caughtUp tells whether a learner may vote: it has what was committed a tick ago, and was heard of lately. A server
// that can't be reached never gets so far, and so never counts in a majority.
func (n *Node) caughtUp(id uint64) (ok bool) {
	if !n.hears(id) {
		return false
	}
	n.raft.raw.WithProgress(func(other uint64, _ raft.ProgressType, pr tracker.Progress) {
		if other == id {
			ok = pr.State == tracker.StateReplicate && pr.Match >= n.peers.commitBefore
		}
	})
	return ok
}
