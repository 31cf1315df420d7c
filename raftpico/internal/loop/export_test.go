package loop

import (
	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// HoldTurn keeps turns from being done, as one does that waits for the disk.
func (l *Loop) HoldTurn() (release func()) {
	l.turns.mu.Lock()
	return l.turns.mu.Unlock
}

// HoldMachine keeps the machine, as a turn does that is at work.
func (l *Loop) HoldMachine() (release func()) {
	l.env.machine.lock()
	return l.env.machine.unlock
}

// Waiting is the number of requests in the inbox.
func (l *Loop) Waiting() int {
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	return len(l.inbox.requests)
}

// AtDisk tells whether a turn waits for the disk.
func (l *Loop) AtDisk() bool {
	l.env.machine.mu.Lock()
	defer l.env.machine.mu.Unlock()
	return !l.env.since.IsZero()
}

// Early is the number of those whom the watch has answered and the core has not.
func (l *Loop) Early() int {
	l.env.machine.mu.Lock()
	defer l.env.machine.mu.Unlock()
	return len(l.env.early)
}

// Counted is what is counted of one answer.
func Counted(op node.Op, err *jsonrpc.Error) []api.RequestCount {
	var t Tally
	var m api.Metrics
	t.Count(Method(op), err)
	t.appendTo(&m)
	return m.Requests
}

// Beside is how many lines were saved beside a turn.
func (l *Loop) Beside() int {
	l.env.machine.mu.Lock()
	defer l.env.machine.mu.Unlock()
	return l.env.landings
}
