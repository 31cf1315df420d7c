package raftpico

import (
	"fmt"
	"time"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/replay"
	"github.com/raftpico/go/raftpico/internal/storage"
)

// ReplayInfo tells what Replay has carried out.
type ReplayInfo struct {
	Index, Term    uint64    // of the last entry carried out
	Time           time.Time // the machine's, as of that entry
	MachineVersion int       // the cluster's, as of that entry (machine.Versioned)
	Sessions       int       // of clients, as of that entry

	Snapshot uint64 // the file covers the states behind this entry,
	Last     uint64 // up to this one
	Commit   uint64 // up to here the entries are certainly committed, as far as the file knows
}

// Replay puts a machine, which must be new, into the state that it had behind the entry upTo of a log file: any one from
// Snapshot to Last of the ReplayInfo, which is filled in also where upTo is another. 0 is all that is certainly
// committed. What is behind that is in the log, and may never be.
//
// It is a server's core that carries out the entries: commands in sessions once, timers, the ends of sessions, abandoned
// tickets, all with the times and random numbers of then. A machine that panics is an error that names the entry. The file
// may be that of a running server, and nothing of it is changed. Its entries are read into memory, as a server does.
func Replay(file string, m machine.Machine, upTo uint64) (ReplayInfo, error) {
	i, err := replay.Run(storage.OS, file, m, upTo, node.Bounds{})
	if err != nil {
		err = fmt.Errorf("raftpico: replay: %w", err)
	}
	return ReplayInfo{i.At.Index, i.At.Term, time.UnixMilli(i.Time).UTC(), i.Version, i.Sessions, i.Snapshot, i.Last, i.Commit}, err
}
