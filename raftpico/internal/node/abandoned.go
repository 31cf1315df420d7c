package node

import (
	"time"

	"go.etcd.io/raft/v3"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// abandoned are the tickets of this server's callers whose answers will reach nobody (machine.Abandoner). An entry tells
// the machines of them. What a session keeps is never among them, since it can be asked for again: sessions abandon by
// their ack and by their end (insession.go), which takes no entry.
//
// Only the server that a command was given to knows whether its caller waits, and one caller waits for a ticket. So no
// two servers abandon the same one. An attempt whose fate is unknown is made again: the machine may hear of a ticket twice.
//
// Invariant: of a ticket that is here, no answer was handed to its caller, or ever will be.
type abandoned struct {
	machine   machine.Abandoner // nil: the user's machine is none, and nothing is noted
	tickets   []machine.Ticket  // in the order in which they were abandoned
	proposing bool              // an entry of ours with the first of them is under way
	pause     time.Duration     // before this time none is proposed, since the last was; 0: that was applied
}

const (
	maxAbandoned = 1024                  // tickets in an entry
	abandonPause = 50 * time.Millisecond // after an attempt that failed
)

func newAbandoned(m machine.Machine) abandoned {
	a, _ := machine.AsAbandoner(m)
	return abandoned{machine: a}
}

// abandon notes that the answer to a ticket will reach nobody. Beyond the bound, the machine is not told.
func (n *Node) abandon(t machine.Ticket) {
	if a := &n.abandoned; a.machine != nil && len(a.tickets) < max(n.cfg.MaxWaiting, maxAbandoned) {
		a.tickets = append(a.tickets, t)
	}
}

// abandonDue is when an entry is to be proposed, or never.
func (n *Node) abandonDue() time.Duration {
	a := &n.abandoned
	if len(a.tickets) == 0 || a.proposing || n.removed || n.stopping && n.raft.lead == raft.None {
		return never
	}
	return a.pause
}

// proposeAbandon proposes an entry, if there are tickets.
func (n *Node) proposeAbandon() {
	if n.abandonDue() > n.clock.elapsed {
		return
	}
	a := &n.abandoned
	a.pause = n.clock.elapsed + abandonPause
	some := make([]wire.Ticket, min(len(a.tickets), maxAbandoned))
	for i := range some {
		some[i] = wire.Ticket(a.tickets[i])
	}
	n.runErrand(&a.proposing, wire.System{Abandon: &wire.Abandon{Tickets: some}})
}

// applyAbandon tells the machine. NB: ours are dropped by their places, which none of another server shares.
func (n *Node) applyAbandon(index uint64, c *wire.Abandon) error {
	a := &n.abandoned
	for offset, t := range c.Tickets {
		if len(a.tickets) > 0 && a.tickets[0] == machine.Ticket(t) {
			a.tickets, a.pause = a.tickets[1:], 0
		}
		if err := n.onAbandon(index, offset, machine.Ticket(t)); err != nil {
			return err
		}
	}
	if len(a.tickets) == 0 {
		a.tickets = nil
	}
	return nil
}

// abandonAll tells the machine of tickets of a session, at a place in the log.
func (n *Node) abandonAll(index uint64, offset int, tickets []machine.Ticket) error {
	for _, t := range tickets {
		if err := n.onAbandon(index, offset, t); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) onAbandon(index uint64, offset int, t machine.Ticket) error {
	m := n.abandoned.machine
	if m == nil {
		return nil
	}
	return n.upkeep("in OnAbandon", index, offset, func(ctx *machine.Context) { m.OnAbandon(ctx, t) })
}
