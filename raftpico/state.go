package raftpico

import "github.com/raftpico/go/api"

// What GetServerState answers, in the words of package api.
type (
	State         = api.State         // a server as it is, by what it knows itself
	EntryID       = api.EntryID       // names an entry of the log
	StateMachines = api.StateMachines // the states of the machines
	MemberState   = api.MemberState   // a member as the server sees it
	LogState      = api.LogState      // tells of the log file
	LoopState     = api.LoopState     // tells of the event loop
	StateHash     = api.StateHash     // a hash of all that is replicated, as of an entry
)
