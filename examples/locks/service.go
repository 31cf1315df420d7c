package main

import (
	"fmt"

	"github.com/raftpico/go/machine"
)

// service is a lock server: locks, values, counters and idempotency ids, of any number of tenants. Its input is one of
//
//	{"Do":{"Tenant":"t","LockID":"ABC","LockDur":30,"LockWait":30}}  → {"l":7}                     Command only
//	{"Get":{"Tenant":"t","KVGet":["CDE"]}}                           → {"kv":[{"Key":"CDE",…}]}
//	{"Watch":{"Tenant":"t","ID":"ABC","Version":0}}                  → {"Key":"ABC",…}             no Command
//
// Do takes all parts of a request. They are done at one moment, or none of them is, in this order: lock or extend,
// idempotency, Atomic, KVGet, KVSet, unlock, notify. A request that has to wait for its lock waits as a whole.
//
// Owner: the server. Nothing here locks.
type service struct {
	state
	limits limits

	// What follows from the state.
	waiting  map[machine.Ticket]*waiter
	lines    map[string]*line              // by lock: who waits for it; nobody: none
	given    map[machine.Ticket]*item      // by the request that got it: when a lock is free
	sessions map[uint64]map[claim]struct{} // what ends with a session
	due      due                           // what happens by time
	ids      []string                      // the idempotency ids, oldest first
	size     int                           // what all of it costs; see cost

	freed []string // the locks to be given to those in line before this command is over
}

// limits bound the state. They must be the same on all servers.
type limits struct {
	size    int // bytes, about: beyond, what makes it grow is refused
	waiters int // in all lines: beyond, who comes is refused
	ids     int // idempotency ids of all tenants: beyond, the oldest are forgotten
}

var defaultLimits = limits{1 << 30, 100_000, 1_000_000}

func newService() machine.Machine { return machine.JSON(newEmptyService()) }

func newEmptyService() *service {
	return &service{
		limits: defaultLimits, waiting: map[machine.Ticket]*waiter{}, lines: map[string]*line{},
		given: map[machine.Ticket]*item{}, sessions: map[uint64]map[claim]struct{}{},
	}
}

// Apply implements machine.Machine.
func (m *service) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	switch in.Tag {
	case "Do", "Get":
		r := new(request)
		if err := in.Decode(r); err != nil {
			return nil, err
		}
		if err := r.check(); err != nil {
			return nil, err
		}
		switch {
		case in.Tag == "Do" && ctx.Kind != machine.Command:
			return nil, fmt.Errorf("a Do must be a Command, not a %s", ctx.Kind)
		case in.Tag == "Get" && !r.getsOnly():
			return nil, fmt.Errorf("a Get has KVGet, and nothing else")
		case in.Tag == "Get":
			return m.prepare(r)
		}
		out, err := m.do(ctx, r)
		m.serveLines(ctx)
		return out, err
	case "Watch":
		var w watchRequest
		if err := in.Decode(&w); err != nil {
			return nil, err
		}
		return m.watch(ctx, &w)
	}
	return nil, fmt.Errorf("unknown operation %.32q", in.Tag)
}
