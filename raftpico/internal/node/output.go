package node

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// maxDepth bounds the nesting of what a machine puts out: the depth of inputs, and room for the machine's own.
const maxDepth = 1024

var null = json.RawMessage("null")

// encodeOutput turns what a machine answered into JSON, or into the error that its client gets.
func encodeOutput(output any, failure error) (result json.RawMessage, refusal *jsonrpc.Error) {
	defer func() { // a method of the output may panic
		if p := recover(); p != nil {
			result, refusal = nil, ErrInvalidOutput.Because(fmt.Sprint(p))
		}
	}()
	if failure != nil {
		return nil, encodeFailure(failure)
	}
	switch raw := output.(type) {
	case nil:
		return null, nil
	case json.RawMessage:
		switch {
		case raw == nil:
			return null, nil
		case len(bytes.TrimSpace(raw)) == 0:
			return nil, ErrNoOutput
		}
		if err := jsonrpc.Valid(raw, maxDepth); err != nil {
			return nil, ErrInvalidOutput.Because(err.Error())
		}
		return jsonrpc.Compact(raw), nil
	case *json.RawMessage:
		switch {
		case raw == nil || *raw == nil:
			return null, nil
		case jsonrpc.Valid(*raw, maxDepth) == nil:
			return jsonrpc.Compact(*raw), nil
		} // NB: What is wrong with it is said by marshal, as in all releases: sessions keep the words.
	}
	result, err := marshal(output)
	if err != nil {
		return nil, ErrInvalidOutput.Because(err.Error())
	}
	return result, nil
}

// marshal encodes a value. NB: What a type's own method puts out is checked by package json, but for its being UTF-8.
func marshal(v any) (json.RawMessage, error) {
	text, err := wire.Marshal(v)
	if err == nil && !utf8.Valid(text) {
		err = errors.New("it is not UTF-8")
	}
	return text, err
}

func encodeFailure(failure error) *jsonrpc.Error {
	var own *machine.Error
	switch {
	case errors.Is(failure, machine.ErrNoOutput):
		return ErrNoOutput
	case errors.As(failure, &own) && own.Code >= 1000:
		e := &jsonrpc.Error{Code: own.Code, Message: own.Message}
		if own.Data != nil {
			data, err := marshal(own.Data)
			if err != nil {
				return ErrInvalidOutput.Because(err.Error())
			}
			e.Data = data
		}
		return e
	}
	return ErrInvalidInput.Because(failure.Error())
}

// maxOutcomeDepth bounds the nesting of outcomes: they stand deeper in a snapshot than in an answer.
const maxOutcomeDepth = maxDepth - 16

// encodeOutcome is encodeOutput for what is kept in a session. It must be read again from a snapshot, to the same bytes.
func encodeOutcome(output any, failure error) (json.RawMessage, *jsonrpc.Error) {
	result, refusal := encodeOutput(output, failure)
	switch {
	case refusal == nil:
		if err := jsonrpc.Valid(result, maxOutcomeDepth); err != nil {
			return nil, ErrInvalidOutput.Because(err.Error())
		}
	case len(refusal.Data) > 0:
		if err := jsonrpc.Valid(refusal.Data, maxOutcomeDepth); err != nil {
			return nil, ErrInvalidOutput.Because(err.Error())
		}
	}
	return result, refusal
}
