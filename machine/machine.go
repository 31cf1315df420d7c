package machine

import (
	"io"

	"github.com/goccy/go-json"
)

// Machine is a replicated state machine. The package comment tells who calls it, what must be equal on all servers, and
// what errors and panics lead to.
type Machine interface {
	// Apply carries out one request. If ctx.Kind is Command, the input was committed, and Apply may change the state;
	// otherwise it must not.
	//
	// Input is valid JSON in UTF-8 without white space between its tokens. It never changes, and Apply may keep slices
	// of it; but a slice pins the whole log entry, and what else came with it, so small ones are better copied. See Large.
	//
	// The output is the answer to the client: a nil is null, a json.RawMessage is sent as it is (nil is null; what is
	// not JSON makes wire error 104), anything else as its JSON. The server encodes it before its next call, or not
	// at all where no client waits, and never changes it: it may be a part of the state. But the bytes of a raw
	// output must stay as they are, since they may be sent later. A *json.RawMessage is what it points to, which may be a field
	// of the machine's own: that spares an allocation for each command.
	//
	// An error goes to the client as wire error 103 with its text as reason, but see Error and ErrNoOutput. The state
	// stays as Apply left it, so check first and change afterwards. An input that the machine does not know must be
	// such an error, and change nothing: a newer build on another server may know it.
	Apply(ctx *Context, input json.RawMessage) (output any, err error)

	// Snapshot returns the whole state as JSON, the same bytes for the same state, and changes nothing. It is called
	// for snapshots, to compare states, and for GetServerState. The result belongs to the server. An error gives the
	// snapshot up; the log then goes on growing, until the next one succeeds.
	Snapshot() (json.RawMessage, error)

	// Restore replaces the state by that of a snapshot, without a trace of the old one. It may keep slices of the
	// snapshot, which may be of an older version of the machine. An error ends the server: it can't go on without the
	// state.
	Restore(snapshot json.RawMessage) error
}

// Large is the size of a slice of an input, in bytes, from which on it is better kept than copied, where the rest of the input
// is small: an input of that length has an entry of the log to itself. As long as the log has the entry, the slice takes no memory
// at all. (Other servers may keep what came with the entry, which is no longer than that.)
const Large = 32 << 10

// Validator is implemented by a machine that refuses bad commands before they are logged (wire error 103). Validate
// runs on the server that was asked, against a state that may be older or newer than the one the command will meet:
// so it must depend on the input alone, and Apply must check the rest. It is called as Machine is.
type Validator interface {
	Validate(input json.RawMessage) error
}

// Snapshotter is implemented by a machine whose state is too large to be encoded or decoded between two heartbeats, or
// to be held in memory as JSON beside the state itself. The server then calls neither Snapshot nor Restore.
type Snapshotter interface {
	// Capture takes hold of the state as it is now, quickly: it is called as Machine is. Write then puts that state
	// out as JSON (what Snapshot would have returned, the same bytes for the same state), on another goroutine while
	// Apply goes on, so the two must not share what either changes.
	//
	// The server calls write exactly once for each Capture, and captures again only when it has returned; a snapshot
	// that is no longer wanted shows as an error of w, which write hands back. So a machine may keep changes apart
	// while write runs, and join them afterwards.
	Capture() (write func(w io.Writer) error, err error)

	// Load reads a state that write has put out, to its end: on a goroutine of its own, while Apply goes on. So it
	// builds the new state apart. Install then puts that in the place of the old one, quickly and without a trace of
	// it, and is called as Machine is; it is not called if the snapshot is no longer wanted. One Load runs at a time.
	// An error refuses a snapshot from another server; at the start it ends the server, which can't go on without the
	// state.
	Load(r io.Reader) (install func(), err error)
}

// Versioned is implemented by a machine whose behaviour changes from build to build: see the package comment. Machines
// that are not have version 0.
type Versioned interface {
	// Version is the newest version of its behaviour that this machine knows, 0 ≤ Version: always the same. It knows
	// all lower ones too, and Context.Version tells which is wanted. It may be called on any goroutine, at any time.
	Version() int
}

// Needer is implemented by a Versioned machine that has commands which older versions do not know.
type Needer interface {
	// Needs is the lowest version that knows a command. While the cluster's is lower, the command is refused with
	// wire error 103: before it is logged, and also when it is applied, at the same index on every server. It must
	// depend on the input alone, and is called as Machine is, only while the cluster's version is below Version.
	Needs(input json.RawMessage) int
}

// Hasher is implemented by a machine that keeps a hash of its state as it changes, so that comparing states costs
// next to nothing. Without it, a snapshot is encoded for that.
type Hasher interface {
	// Hash is the same for the same state, on every server and after every restart, and most likely another for
	// another one. It is called as Machine is, and must be quick. Such as a sum, modulo 2⁶⁴, of a hash of each key
	// with its value: that is easily kept, whatever changes, and has no order. NB: it takes a hash that mixes well,
	// such as SHA-256; sums of FNV hashes are often equal. That of hash/maphash is another one in each process.
	Hash() uint64
}
