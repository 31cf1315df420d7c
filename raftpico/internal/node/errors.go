package node

import (
	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
)

// The errors of the API that the core gives.
var (
	ErrInvalidParams = api.ErrInvalidParams
	ErrClusterExists = api.ErrClusterExists
	ErrServerExists  = api.ErrServerExists
	ErrNotMember     = api.ErrNotMember
	ErrInvalidInput  = api.ErrInvalidInput
	ErrInvalidOutput = api.ErrInvalidOutput
	ErrNoOutput      = api.ErrNoOutput
	ErrRejected      = api.ErrRejected
	ErrUnknown       = api.ErrUnknown
	ErrNoLeader      = api.ErrNoLeader
	ErrUnreachable   = api.ErrUnreachable
	ErrBusy          = api.ErrBusy
	ErrSessionEnded  = api.ErrSessionEnded
	ErrLastServer    = api.ErrLastServer
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
