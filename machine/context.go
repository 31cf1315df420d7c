package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Context is what a machine may know about the request besides its input. For a command it is the same on every
// server. It is valid during the call only.
type Context struct {
	Kind    Kind
	Cluster string // the cluster's public id, empty before CreateCluster

	// (Index, Offset) is the place of a command in the log: it grows from command to command, with gaps, and no two
	// share it. In a query Index is that of the last entry applied.
	Index  uint64
	Offset int // within the entry: 0 ≤ Offset

	// Time is when the leader took the command in, by its clock: in UTC, whole milliseconds. It never decreases and is
	// a machine's only clock. In a query it is the time of the last entry applied.
	Time time.Time

	// Version is the cluster's version of the machine: 0 ≤ Context.Version ≤ Versioned.Version. It never decreases, and
	// changes between two commands, the same on every server. In a query it is that of the last entry applied.
	Version int

	// Session is the session to which a command belongs, or 0 if it belongs to none. See SessionEnder.
	Session uint64

	// Upkeep tells that this is no Apply: OnTimer, OnSessionEnd or OnAbandon runs.
	Upkeep bool

	// TimedOut tells that a query has waited until its deadline, and runs for the last time. See Wait.
	TimedOut bool

	rand    *rand.Rand
	effects *Effects // nil: nothing was ever asked for
	asked   bool     // effects has something
}

// NewContext returns a context as a server would make it, for tests of a machine without one. The other fields may be
// set. Effects tells what the machine asked for. The package machinetest checks a whole machine.
func NewContext(kind Kind, index uint64, at time.Time) *Context {
	return &Context{Kind: kind, Index: index, Time: at.UTC().Truncate(time.Millisecond)}
}

// Rand returns random numbers that are the same on every server: the seed is (Cluster, Index, Offset). Whoever knows
// these can compute the numbers, so they are no secrets. A command that does not ask for numbers pays nothing.
//
// NB: the source is specified for ever (ChaCha8), what rand.Rand makes of it belongs to the Go release; build all
// servers of a cluster with the same one.
func (c *Context) Rand() *rand.Rand {
	if c.rand == nil {
		seed := binary.BigEndian.AppendUint64(nil, c.Index)
		seed = binary.BigEndian.AppendUint64(seed, uint64(c.Offset))
		seed = append(seed, c.Cluster...) // last, so that no two triples give the same bytes
		c.rand = rand.New(rand.NewChaCha8(sha256.Sum256(seed)))
	}
	return c.rand
}
