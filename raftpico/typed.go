package raftpico

import (
	"context"
	"errors"
	"fmt"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/api"
	"github.com/raftpico/go/machine"
)

// Apply is [Server.Apply] of a command, with the output as a Go value:
//
//	sum, err := raftpico.Apply[int](ctx, s, add{5})
//
// The errors are those of Server.Apply, and ErrUndecodable: see [Output].
func Apply[Out any](ctx context.Context, s *Server, input any) (Out, error) {
	return applied[Out](s.Apply(ctx, machine.Command, input))
}

// ApplyOnce is [Server.ApplyOnce], with the output as a Go value. See [Apply].
func ApplyOnce[Out any](ctx context.Context, s *Server, in Session, input any) (Out, error) {
	return applied[Out](s.ApplyOnce(ctx, in, input))
}

func applied[Out any](result json.RawMessage, err error) (Out, error) {
	out, err := Output[Out](result, err)
	if errors.Is(err, ErrUndecodable) {
		err = fmt.Errorf("%w; the command is applied", err)
	}
	return out, err
}

// Query is [Server.Apply] of a query, with the output as a Go value. See [Apply].
func Query[Out any](ctx context.Context, s *Server, input any) (Out, error) {
	return Output[Out](s.Apply(ctx, machine.Query, input))
}

// LocalQuery is [Server.Apply] of a local query, with the output as a Go value. See [Apply].
func LocalQuery[Out any](ctx context.Context, s *Server, input any) (Out, error) {
	return Output[Out](s.Apply(ctx, machine.LocalQuery, input))
}

// Output makes a Go value of what a call in process has returned: raftpico.Output[int](s.Apply(ctx, kind, input)). With
// an err it returns that, and a zero Out.
//
// What the machine put out as an Out comes back as it was, as far as JSON carries it. Anything else is refused: unknown
// members, members in another case, duplicate ones, numbers that don't fit. Null, and a member left out, is the zero
// value. The Out is the caller's own and shares no memory with the machine.
func Output[Out any](result json.RawMessage, err error) (out Out, _ error) {
	if err != nil {
		return out, err
	}
	if err := api.Decode(result, &out); err != nil {
		var none Out
		return none, fmt.Errorf("%w as %T: %w", ErrUndecodable, none, err)
	}
	return out, nil
}

// ErrorData returns the data of the [machine.Error] that is in err. It is false if there is none, or if it is no Data:
// the rules are those of [Output].
func ErrorData[Data any](err error) (Data, bool) { return api.ErrorData[Data](err) }
