package raftpico

import (
	"errors"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
)

// Error is an error answer: its Code is on the wire what errors.Is compares here. Data, where there is any, is a JSON
// object that may tell "leader", the leader's address, and "reason".
type Error = jsonrpc.Error

// The errors of the API. Test with errors.Is, in process and over TCP alike. The table in docs/API.md tells when
// each is given; ErrRejected, ErrNoLeader, ErrUnreachable and ErrBusy promise that nothing has changed.
var (
	ErrInvalidParams = jsonrpc.ErrInvalidParams // -32602: an address, a timeout, a kind or an input that no server takes

	ErrClusterExists = node.ErrClusterExists // 100
	ErrServerExists  = node.ErrServerExists  // 101
	ErrNotMember     = node.ErrNotMember     // 102
	ErrInvalidInput  = node.ErrInvalidInput  // 103
	ErrInvalidOutput = node.ErrInvalidOutput // 104
	ErrNoOutput      = node.ErrNoOutput      // 105
	ErrRejected      = node.ErrRejected      // 106: certainly not applied
	ErrUnknown       = node.ErrUnknown       // 107: may or may not be applied
	ErrNoLeader      = node.ErrNoLeader      // 108: certainly not applied
	ErrUnreachable   = node.ErrUnreachable   // 109
	ErrBusy          = node.ErrBusy          // 110: certainly not applied
	ErrLastServer    = node.ErrLastServer    // 112
)

// ErrUnencodable is wrapped by the error of an Apply in process whose input can't be encoded as JSON: nothing was asked of the
// server. An input that is JSON, and that servers refuse, is ErrInvalidParams; one that the machine refuses, ErrInvalidInput.
var ErrUnencodable = errors.New("raftpico: the input can't be encoded as JSON")
