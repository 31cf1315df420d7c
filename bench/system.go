package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Kind is what an operation does.
type Kind string

const (
	Put      Kind = "put"      // replicated, durable
	Get      Kind = "get"      // linearizable
	LocalGet Kind = "localget" // from the server asked, perhaps stale
)

// Op is one operation. Value is for Put.
type Op struct {
	Kind  Kind
	Key   string
	Value []byte // printable, without quotes and backslashes
}

// System is a replicated key-value store that is measured. Its servers are either processes of their own (Node), with
// clients elsewhere, or all in one process with the load (Local). It sets one of the two.
type System struct {
	Name  string
	About string // version and settings, for whoever reads the results
	Kinds []Kind // that it has

	// Prepare does what is to be done once, such as building a program. May be nil.
	Prepare func(ctx context.Context, dir string) error
	// Node runs one server of a cluster, in this process, until ctx ends.
	Node func(ctx context.Context, n NodeConfig) error
	// Form makes a cluster of nodes that listen, if they have not done so themselves. May be nil.
	Form func(ctx context.Context, addrs []string) error
	// Dial connects a client to a node.
	Dial func(ctx context.Context, addr string) (Client, error)
	// Shared tells that one client serves all that ask: it connects to the other nodes by itself.
	Shared bool
	// Leader returns which node leads, from 0.
	Leader func(ctx context.Context, addrs []string) (int, error)

	// Syncs counts what all nodes have synced so far. Nil: not known.
	Syncs func(ctx context.Context, addrs []string) (uint64, error)

	// Local starts a cluster in this process.
	Local func(ctx context.Context, c LocalConfig) (Cluster, error)
}

// NodeConfig is what a server is told.
type NodeConfig struct {
	ID       int      // from 1
	Addrs    []string // of all nodes, for clients; Addrs[ID-1] is this one's
	Peers    []string // of all nodes, for each other where a system wants other addresses for that
	Dir      string   // empty, this node's own
	Programs string   // where Prepare put what it has made
}

// LocalConfig is what a cluster in one process is told.
type LocalConfig struct {
	Servers  int
	Dir      string // empty; "": without a disk, for systems that can
	InMemory bool

	LeaseReads bool // leaders answer queries under a lease, in systems that can
}

// Cluster runs in this process.
type Cluster interface {
	// Client returns the one of a server, from 0, which ends with the Cluster. That is ready for writes when Local returns it.
	Client(server int) Client
	// Leader returns which server leads.
	Leader() int
	Close() error
}

// Client carries out operations on one server, any number at a time.
type Client interface {
	// Go begins an operation. Done is called once, on any goroutine, and may call Go for the next one. Go may keep back
	// what it was given until Flush; inside of done nobody needs to call that.
	Go(op Op, done func(error))
	Flush() error
	Close() error
}

// systems are all that can be measured, in the order of the tables.
var systems []*System

func register(s *System) { systems = append(systems, s) }

func find(name string) (*System, error) {
	i := slices.IndexFunc(systems, func(s *System) bool { return s.Name == name })
	if i < 0 {
		var names []string
		for _, s := range systems {
			names = append(names, s.Name)
		}
		return nil, fmt.Errorf("no system %q; there are %s", name, strings.Join(names, ", "))
	}
	return systems[i], nil
}
