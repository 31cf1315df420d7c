package node

import (
	"github.com/raftpico/go/jsonrpc"
)

// The errors of the wire contract that the core gives. Package raftpico exports them.
var (
	ErrClusterExists = &jsonrpc.Error{Code: 100, Message: "Cluster already created"}
	ErrServerExists  = &jsonrpc.Error{Code: 101, Message: "Server already added"}
	ErrNotMember     = &jsonrpc.Error{Code: 102, Message: "Not a cluster member"}
	ErrInvalidInput  = &jsonrpc.Error{Code: 103, Message: "Invalid machine input"}
	ErrInvalidOutput = &jsonrpc.Error{Code: 104, Message: "Invalid machine output"}
	ErrNoOutput      = &jsonrpc.Error{Code: 105, Message: "No machine output"}
	ErrRejected      = &jsonrpc.Error{Code: 106, Message: "Request rejected"}
	ErrUnknown       = &jsonrpc.Error{Code: 107, Message: "Request result unknown"}
	ErrNoLeader      = &jsonrpc.Error{Code: 108, Message: "No leader"}
	ErrUnreachable   = &jsonrpc.Error{Code: 109, Message: "Server unreachable"}
	ErrBusy          = &jsonrpc.Error{Code: 110, Message: "Busy"}
	ErrSessionEnded  = &jsonrpc.Error{Code: 111, Message: "Session ended"}
	ErrLastServer    = &jsonrpc.Error{Code: 112, Message: "Last server"}
)

// withData is a copy of base with the leader's address and the reason as data, where they are not empty.
func withData(base *jsonrpc.Error, leader, reason string) *jsonrpc.Error {
	if leader == "" && reason == "" {
		return base
	}
	return base.With(struct {
		Leader string `json:"leader,omitempty"`
		Reason string `json:"reason,omitempty"`
	}{leader, reason})
}
