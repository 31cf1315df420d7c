package sim

import (
	"github.com/goccy/go-json"

	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/offline"
	"github.com/raftpico/go/raftpico/internal/replay"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
)

// carriedOn checks, of a member at rest, what becomes of its file without a server. Carried out again (package replay) it
// gives the member's state. Made the file of another cluster's first server (node.Refound), it gives the same state, and no
// server of the old cluster is known to it.
func (c *checks) carriedOn(w *world) {
	members := c.members(w)
	s := members[w.cfg.Seed%uint64(len(members))]
	s.carriedOut(s.fs, "its log")
	from, state, err := storage.Read(s.fs, "log")
	if err != nil {
		w.fail("%s: its log can't be read: %v", s, err)
	}
	defer from.Close()
	next, err := node.Refound(offline.Stored(state), node.Founder{ClusterID: "anew", Key: "anotherkey", Instance: "anew", Addr: s.addr, SessionBase: 1 << 32})
	if err != nil {
		w.fail("%s: no other cluster can go on from its log: %v", s, err)
	}
	disk := memfs.New()
	if err := storage.Make(disk, "log", next.Instance, func(to *storage.Replacement) error { return offline.CarryOver(to, from, &next) }); err != nil {
		w.fail("%s: the log of another cluster can't be made of its log: %v", s, err)
	}
	c.closed(s, disk)
	s.carriedOut(disk, "the log of another cluster that goes on from its log")
}

// closed checks that nothing of the old cluster's servers is known to a new one.
func (c *checks) closed(s *server, disk *memfs.FS) {
	r, state, err := storage.Read(disk, "log")
	if err != nil {
		s.w.fail("%s: the log of another cluster can't be read: %v", s, err)
	}
	defer r.Close()
	old := s.disk.identity
	if id := state.Identity; id.ClusterID == old.ClusterID || id.Key == old.Key || state.Header.Instance == s.instance {
		s.w.fail("%s: an old member can come into the cluster that goes on from its log: %+v, instance %s", s, id, state.Header.Instance)
	}
	look, err := node.Look(offline.Stored(state))
	if err != nil || look.Addr != s.addr || len(look.Others) > 0 {
		s.w.fail("%s: the cluster that goes on from its log knows others: %+v, %v", s, look, err)
	}
}

// carriedOut carries out a log up to what the server has applied, and compares the states.
func (s *server) carriedOut(disk *memfs.FS, what string) {
	own := s.m
	s.m = newKeyValue(s)
	info, err := replay.Run(disk, "log", s.machine(), s.applied, s.w.extras.bounds)
	again := s.m
	s.m = own
	if err != nil {
		s.w.fail("%s: %s can't be carried out up to %d: %v", s, what, s.applied, err)
	}
	st := s.node.State()
	if info.At.Index != s.applied || info.Time != st.AppliedTime || info.Sessions != st.Sessions || info.Version != st.ActiveVersion {
		s.w.fail("%s: %s gives %+v, the server is at %+v", s, what, info, st)
	}
	one, _ := json.Marshal(own.state)
	other, _ := json.Marshal(again.state)
	if string(one) != string(other) {
		s.w.fail("%s: %s gives the state %s, the server has %s", s, what, other, one)
	}
}
