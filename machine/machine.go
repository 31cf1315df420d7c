// Package machine is the contract between a replicated service and the servers that run it: you write the state
// machine, they keep the copies alike. The smallest one is a type with one method:
//
//	type counter struct{ Value int }
//
//	func (c *counter) Apply(ctx *machine.Context, add int) (any, error) {
//		if ctx.Kind == machine.Command {
//			c.Value += add
//		}
//		return c.Value, nil
//	}
//
// machine.JSON(&counter{}) makes a Machine of it. Who wants other snapshots than the JSON of the state implements
// Machine itself.
package machine

import (
	"io"

	"github.com/goccy/go-json"
)

// Machine is a replicated state machine. The server makes all calls, one at a time and each after the one before, though not
// always on the same goroutine. So a machine needs no lock, must not block, and must not call its server.
//
// Every server applies the same commands in the same order, and the states must stay equal: a command may depend on
// the state, on its input and on its Context, and on nothing else (no clock, no map order, no environment, no random
// numbers but those of Context.Rand). A panic in a command ends the server, on all servers alike.
type Machine interface {
	// Apply carries out one request. If ctx.Kind is Command, the input was committed, and Apply may change the state;
	// otherwise it must not.
	//
	// Input is valid JSON in UTF-8 without white space between its tokens. It never changes, and Apply may keep slices
	// of it; but a slice pins the whole log entry, and what else came with it, so small ones are better copied.
	//
	// The output is the answer to the client: a nil is null, a json.RawMessage is sent as it is (nil is null; what is
	// not JSON makes wire error 104), anything else as its JSON. The server encodes it before its next call, or not at
	// all where no client waits, and never changes it: it may be a part of the state. But the bytes of a raw output must
	// stay as they are, since they may be sent later.
	//
	// An error goes to the client as wire error 103 with its text as reason, but see Error and ErrNoOutput. The state
	// stays as Apply left it, so check first and change afterwards.
	Apply(ctx *Context, input json.RawMessage) (output any, err error)

	// Snapshot returns the whole state as JSON. The result belongs to the server. An error gives the snapshot up; the
	// log then goes on growing.
	Snapshot() (json.RawMessage, error)

	// Restore replaces the state by that of a snapshot, without a trace of the old one. It may keep slices of the
	// snapshot. An error ends the server: it can't go on without the state.
	Restore(snapshot json.RawMessage) error
}

// Validator is implemented by a machine that refuses bad commands before they are logged (wire error 103). Validate
// runs on the server that was asked, against a state that may be older or newer than the one the command will meet:
// so it must depend on the input alone, and Apply must check the rest. It is called as Machine is.
type Validator interface {
	Validate(input json.RawMessage) error
}

// Snapshotter is implemented by a machine whose state is too large to be encoded or decoded between two heartbeats, or
// to be held in memory as JSON beside the state itself. The server then calls neither Snapshot nor Restore.
type Snapshotter interface {
	// Capture takes hold of the state as it is now, quickly: it is called as Machine is. Write then puts
	// that state out as JSON (what Snapshot would have returned), on another goroutine while Apply goes on, so the two
	// must not share what either changes.
	//
	// The server calls write exactly once for each Capture, and captures again only when it has returned; a snapshot
	// that is no longer wanted shows as an error of w, which write hands back. So a machine may keep changes apart
	// while write runs, and join them afterwards.
	Capture() (write func(w io.Writer) error, err error)

	// Load reads a state that write has put out, to its end: on a goroutine of its own, while Apply goes on.
	// So it builds the new state apart. Install then puts that in the place of the old one, quickly and without a trace of
	// it, and is called as Machine is; it is not called if the snapshot is no longer wanted. One Load runs at a time. An
	// error refuses a snapshot from another server; at the start it ends the server, which can't go on without the state.
	Load(r io.Reader) (install func(), err error)
}
