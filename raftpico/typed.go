package raftpico

import (
	"context"
	"errors"
	"fmt"

	json1 "github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"

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

func applied[Out any](result json1.RawMessage, err error) (Out, error) {
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
func Output[Out any](result json1.RawMessage, err error) (out Out, _ error) {
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(result, &out, asWritten); err != nil {
		var none Out
		return none, fmt.Errorf("%w as %T: %w", ErrUndecodable, none, err)
	}
	return out, nil
}

// ErrorData returns the data of the [machine.Error] that is in err. It is false if there is none, or if it is no Data:
// the rules are those of [Output].
func ErrorData[Data any](err error) (data Data, ok bool) {
	own, found := errors.AsType[*machine.Error](err)
	if !found {
		return data, false
	}
	switch held := own.Data.(type) {
	case json1.RawMessage: // it has come from a server
		data, err = Output[Data](held, nil)
		return data, err == nil
	case Data: // it has come from a machine, in a test without a server
		return held, true
	}
	return data, false
}

// asWritten are the rules that outputs are written by, read strictly. NB: Those of machine.JSON are for inputs; they have
// other forms of some types, such as arrays of bytes.
var asWritten = json.JoinOptions(
	json1.DefaultOptionsV1(),
	json.MatchCaseInsensitiveNames(false),
	json.RejectUnknownMembers(true),
	jsontext.AllowDuplicateNames(false),
	jsontext.AllowInvalidUTF8(false),
	json.WithUnmarshalers(json.UnmarshalFromFunc(readNumber)))

// readNumber decodes a json.Number, which v2 of goccy/go-json 0.12.0 writes as a number but reads as a string.
func readNumber(d *jsontext.Decoder, n *json1.Number) error {
	v, err := d.ReadValue()
	switch {
	case err != nil:
		return err
	case v.Kind() == jsontext.KindNumber:
		*n = json1.Number(v)
	case v.Kind() == jsontext.KindNull:
		*n = ""
	default:
		return errors.New("not a number")
	}
	return nil
}

// ownError is an error of the machine's own, in process: errors.As finds the machine.Error in it, and the Error that a
// client would get.
type ownError struct {
	own *machine.Error // its Data are JSON: a json.RawMessage, or nil
	err error
}

func (e *ownError) Error() string   { return e.err.Error() }
func (e *ownError) Unwrap() []error { return []error{e.own, e.err} }

// withOwn passes on what the loop has answered, with the machine's own error.
func withOwn(result json1.RawMessage, err error) (json1.RawMessage, error) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code < 1000 {
		return result, err
	}
	own := &machine.Error{Code: e.Code, Message: e.Message}
	if e.Data != nil {
		own.Data = e.Data
	}
	return result, &ownError{own, err}
}
