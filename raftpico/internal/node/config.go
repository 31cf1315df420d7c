package node

import (
	"log/slog"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// Config is what a core is made of. Chance is handed in: Boot, ClusterID and ClusterKey are drawn by the caller, the
// latter two being used only if this server creates a cluster.
type Config struct {
	Machine        machine.Machine
	Addr           string // the address others reach this server at
	Boot           string
	ClusterID      string
	ClusterKey     string
	Release        string        // as GetServerState tells it
	Deadline       time.Duration // of every request that says none itself; > 0
	MaxTimeout     time.Duration // the longest that one may say; less than Deadline: that
	MaxPending     int           // requests under way, without those that are parked; > 0
	MaxWaiting     int           // requests that wait for the machine; 0: as MaxPending
	WaitingBytes   int           // bytes of the inputs of queries among them; 0: any
	MaxUncommitted uint64        // bytes proposed and not committed; > 0
	CompactAfter   uint64        // bytes of entries since the last snapshot that call for one; > 0
	Trailing       uint64        // bytes of entries that are kept before a snapshot, for followers a little behind
	Awaiting       uint64        // bytes of entries kept behind a snapshot on its way to a server; what calls for the next one, if that is more
	MessageSize    uint64        // bytes of entries in one message to another server, or one entry; > 0
	Inflight       uint64        // bytes of entries sent to a follower and not acknowledged, or a message more; >= MessageSize
	PageSize       uint64        // bytes of committed entries that the library hands out at once, or one entry; > 0
	HeartbeatTicks int           // from one heartbeat to the next; 1 to electionTicks-1
	HoldCommands   time.Duration // the shortest time that commands wait for others, a tenth of the longest (pace.go); 0: none
	HoldNotices    time.Duration // how long the news of a commit may wait, where no caller does (notices.go); 0: not at all
	HoldReads      time.Duration // how long a round of queries waits for the one before it, and for callers (gather.go); 0: not at all
	RemoveDead     time.Duration // after what silence a leader removes a member (dead.go); 0: none
	Founders       []string      // the addresses of all that are to create a cluster, sorted, with this server's among them; nil: it was not started for that
	Joining        bool          // while it belongs to no cluster, it looks for one
	CheckState     time.Duration // how often the states are compared, if something was applied since (hashes.go); 0: never
	Bounds         Bounds        // of sessions; zero: those of the product
	Logger         *slog.Logger
}

// Stored is what the log holds at the start. The user's state in the snapshot is in the machine already, see Load.
type Stored struct {
	Instance  string
	Identity  *wire.Identity
	Snapshot  *wire.Snapshot
	StateSize uint64 // bytes of the user's state in the snapshot
	HardState wire.HardState
	Prev      wire.EntryID
	Entries   []*raftpb.Entry
}
