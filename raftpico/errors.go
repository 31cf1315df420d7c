package raftpico

import (
	"errors"

	"github.com/raftpico/go/api"
)

// Error is an error answer: its Code is on the wire what errors.Is compares here. Data, where there is any, is a JSON
// object that may tell "leader", the leader's address, and "reason".
type Error = api.Error

// The errors of the API. Test with errors.Is, in process and over TCP alike. The table in docs/API.md tells when
// each is given; ErrRejected, ErrNoLeader, ErrUnreachable and ErrBusy promise that nothing has changed.
var (
	ErrInvalidParams = api.ErrInvalidParams // -32602: an address, a timeout, a kind or an input that no server takes

	ErrClusterExists = api.ErrClusterExists // 100
	ErrServerExists  = api.ErrServerExists  // 101
	ErrNotMember     = api.ErrNotMember     // 102
	ErrInvalidInput  = api.ErrInvalidInput  // 103
	ErrInvalidOutput = api.ErrInvalidOutput // 104
	ErrNoOutput      = api.ErrNoOutput      // 105
	ErrRejected      = api.ErrRejected      // 106: certainly not applied
	ErrUnknown       = api.ErrUnknown       // 107: may or may not be applied
	ErrNoLeader      = api.ErrNoLeader      // 108: certainly not applied
	ErrUnreachable   = api.ErrUnreachable   // 109
	ErrBusy          = api.ErrBusy          // 110: certainly not applied
	ErrSessionEnded  = api.ErrSessionEnded  // 111: not carried out this time; whether it was earlier can't be told any more
	ErrLastServer    = api.ErrLastServer    // 112
	ErrNotPermitted  = api.ErrNotPermitted  // 113: who asks may not
)

// ErrUnencodable is wrapped by the error of an Apply in process whose input can't be encoded as JSON: nothing was asked of the
// server. An input that is JSON, and that servers refuse, is ErrInvalidParams; one that the machine refuses, ErrInvalidInput.
var ErrUnencodable = errors.New("raftpico: the input can't be encoded as JSON")

// ErrUndecodable is wrapped by the error of a typed call whose output is no Out. The call was carried out: a command is
// applied.
var ErrUndecodable = errors.New("raftpico: the output can't be decoded")
