// Package api is what servers and their clients have in common: the errors, and what GetServerState answers. Packages
// raftpico and client export all of it under the same names, so that a program seldom needs to import this one.
package api

import "github.com/raftpico/go/jsonrpc"

// Error is an error answer: its Code is on the wire what errors.Is compares here. Data, where there is any, is a JSON
// object that may tell "leader", the leader's address, and "reason".
type Error = jsonrpc.Error

// The errors of the API. Test with errors.Is, in process and over TCP alike. The table in docs/API.md tells when
// each is given; ErrRejected, ErrNoLeader, ErrUnreachable and ErrBusy promise that nothing has changed.
var (
	ErrInvalidParams = jsonrpc.ErrInvalidParams // -32602: an address, a timeout, a kind or an input that no server takes

	ErrClusterExists = &Error{Code: 100, Message: "Cluster already created"}
	ErrServerExists  = &Error{Code: 101, Message: "Server already added"}
	ErrNotMember     = &Error{Code: 102, Message: "Not a cluster member"}
	ErrInvalidInput  = &Error{Code: 103, Message: "Invalid machine input"}
	ErrInvalidOutput = &Error{Code: 104, Message: "Invalid machine output"}
	ErrNoOutput      = &Error{Code: 105, Message: "No machine output"}
	ErrRejected      = &Error{Code: 106, Message: "Request rejected"}       // certainly not applied
	ErrUnknown       = &Error{Code: 107, Message: "Request result unknown"} // may or may not be applied
	ErrNoLeader      = &Error{Code: 108, Message: "No leader"}              // certainly not applied
	ErrUnreachable   = &Error{Code: 109, Message: "Server unreachable"}
	ErrBusy          = &Error{Code: 110, Message: "Busy"} // certainly not applied
	ErrSessionEnded  = &Error{Code: 111, Message: "Session ended"}
	ErrLastServer    = &Error{Code: 112, Message: "Last server"}
	ErrNotPermitted  = &Error{Code: 113, Message: "Not permitted"}
)
