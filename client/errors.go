package client

import (
	"fmt"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/jsonrpc"
)

// Error is an error that a server has answered; errors.As finds it in what the methods return.
type Error = api.Error

// ErrorData returns the data of the machine's own error that is in err: an error with a Code ≥ 1000, which errors.As finds as a
// *machine.Error. It is false if there is none, or if it is no Data, strictly: unknown members are refused, as those in another
// case, and numbers that don't fit.
func ErrorData[Data any](err error) (Data, bool) { return api.ErrorData[Data](err) }

// The errors of the API, the same as those of package raftpico. Test with errors.Is.
var (
	ErrInvalidParams = api.ErrInvalidParams // -32602: the request itself is wrong
	ErrClusterExists = api.ErrClusterExists // 100
	ErrServerExists  = api.ErrServerExists  // 101
	ErrNotMember     = api.ErrNotMember     // 102: no server that the client knows belongs to a cluster, or no member has the address that was named
	ErrInvalidInput  = api.ErrInvalidInput  // 103: the machine refused it
	ErrInvalidOutput = api.ErrInvalidOutput // 104
	ErrNoOutput      = api.ErrNoOutput      // 105
	ErrRejected      = api.ErrRejected      // 106: ctx ended first; certainly not applied
	ErrUnknown       = api.ErrUnknown       // 107: ctx ended first, or the command was in no session; it may be applied
	ErrNoLeader      = api.ErrNoLeader      // 108: ctx ended first; certainly not applied
	ErrUnreachable   = api.ErrUnreachable   // 109
	ErrBusy          = api.ErrBusy          // 110: ctx ended first; certainly not applied
	ErrSessionEnded  = api.ErrSessionEnded  // 111
	ErrLastServer    = api.ErrLastServer    // 112
	ErrNotPermitted  = api.ErrNotPermitted  // 113: this client may not ask for that
)

// verdict is what an attempt's error means for the next one.
type verdict int

const (
	final    verdict = iota // nobody would say anything else
	refused                 // certainly not applied; another attempt may be taken
	stranger                // certainly not applied; the server belongs to no cluster
	doubtful                // it may be applied, now or later
)

func judge(err error) verdict {
	e, answered := err.(*jsonrpc.Error) // NB: a lost connection's error may wrap one, which is no answer
	switch {
	case err == nil:
		return final
	case !answered && isNotSent(err):
		return refused
	case !answered:
		return doubtful
	}
	switch e.Code {
	case ErrRejected.Code, ErrNoLeader.Code, ErrBusy.Code:
		return refused
	case ErrUnknown.Code:
		return doubtful
	case ErrNotMember.Code:
		if leaderOf(e) != "" { // it belongs to a cluster, and says that of the address that it was asked about
			return final
		}
		return stranger
	}
	return final
}

// isOutcome tells whether an error is what became of a command: then it is what became of it at the first attempt.
func isOutcome(err error) bool {
	e, ok := err.(*jsonrpc.Error)
	return ok && e.Code > 0 && e.Code != ErrSessionEnded.Code && e.Code != ErrNotPermitted.Code
}

// leaderOf is the leader's address as an error tells it, or empty.
func leaderOf(err error) string {
	e, ok := err.(*jsonrpc.Error)
	if !ok || len(e.Data) == 0 || e.Data[0] != '{' {
		return ""
	}
	var data struct {
		Leader string `json:"leader"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return ""
	}
	return data.Leader
}

// ended is the error of a call that ctx or Close has ended: it tells what is certain. Last is that of the last attempt, nil if
// there was none.
func ended(doubt bool, last, cause error) error {
	base, answered := last.(*jsonrpc.Error)
	switch {
	case doubt:
		base = ErrUnknown
	case !answered || judge(base) == doubtful:
		base = ErrRejected
	}
	if last == nil {
		return fmt.Errorf("client: %w: %w", base, cause)
	}
	return fmt.Errorf("client: %w: %w; last: %v", base, cause, last)
}
