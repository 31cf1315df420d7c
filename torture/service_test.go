//go:build unix

package torture

import (
	"context"
	"time"
)

// examples is where the services are.
const examples = "github.com/raftpico/go/examples/"

// service is a program of which clusters are tortured, and what its clients do.
type service struct {
	program string // the last part of its package too
	http    bool   // it also speaks HTTP
	command any    // an input that it takes at any time, as a command,
	query   any    // and as a query

	deadline time.Duration // within which it answers every request

	begin func(r *run, loading context.Context, rate int) trial // keeps it busy until loading ends
}

// trial is what the clients of a service have under way, and what they have been told. It counts in the run's tally.
type trial interface {
	finish()          // waits for what is under way. Loading has ended, and everything is healed
	check()           // asks for what must be there, after the servers were killed and started again
	inspect()         // looks into the files, when the servers have ended
	breakOff()        // ends what is under way, whatever it is. It may be called after the others
	verdict() []error // what is wrong with the answers
	report() string   // more lines for the report, each after a newline
}
