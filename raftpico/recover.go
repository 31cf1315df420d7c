package raftpico

import (
	"fmt"
	"time"

	"github.com/raftpico/go/raftpico/internal/offline"
)

// Survivor is what one log file tells of its cluster, when the majority of the servers is lost.
type Survivor struct {
	ClusterID string
	NodeID    uint64
	Addr      string   // at which the members knew its server; empty: it was no member any more
	Others    []string // addresses of the other members, as of the end of the log

	Last     uint64    // index of the last entry
	Term     uint64    // of the last entry
	Time     time.Time // of the last entry
	Commit   uint64    // up to here entries were certainly committed, as far as this file knows
	Certain  time.Time // the time of the last of these
	Doubtful int       // commands behind that, which may have been acknowledged or not
}

// Better tells whether a file has more than another one of its cluster: if it ends in a later term, or in the same one at
// a higher index. It then has all that was acknowledged and that the other has (Raft paper §5.4.1).
func (s Survivor) Better(than Survivor) bool {
	return s.Term > than.Term || s.Term == than.Term && s.Last > than.Last
}

func survivorOf(s offline.Survivor) Survivor {
	return Survivor{s.Identity.ClusterID, s.Identity.NodeID, s.Survey.Addr, s.Others, s.Last, s.Term, time.UnixMilli(s.Time).UTC(),
		s.Commit, time.UnixMilli(s.Certain).UTC(), s.Doubtful}
}

// LookAtSurvivor reads a log file and tells what [Recover] would find in it. It changes nothing.
func LookAtSurvivor(file string) (Survivor, error) {
	s, err := offline.Look(file)
	if err != nil {
		return Survivor{}, fmt.Errorf("raftpico: %w", err)
	}
	return survivorOf(s), nil
}

// Recovered tells what Recover has made.
type Recovered struct {
	Survivor        // what the old file told
	NewID    string // of the new cluster
	NewAddr  string // at which others reach its first server
	Kept     string // where the old file is
}

// Recover is for a cluster whose majority is lost for ever. It makes of one server's log file that of the first server of a
// new cluster, which others reach at addr, or at the old address if addr is empty. All entries of the file are kept, also
// those of which nobody knows whether they were committed. What others acknowledged, and this server had not heard of, is
// lost: of several survivors, take the one that is Better than the others.
//
// No server may have the file open. The old file is kept as FILE.before-recovery, where there must be none. The cluster's id
// and key, and its server, are new: no server of the old cluster can come into it. Add others with empty files.
func Recover(file, addr string) (Recovered, error) {
	made, err := offline.Recover(file, addr)
	if err != nil {
		return Recovered{}, fmt.Errorf("raftpico: recover: %w", err)
	}
	return Recovered{survivorOf(made.Survivor), made.ClusterID, made.Addr, made.Kept}, nil
}
