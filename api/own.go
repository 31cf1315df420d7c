package api

import (
	"errors"

	json1 "github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"
	"github.com/goccy/go-json/v2"

	"github.com/raftpico/go/machine"
)

// ErrorData returns the data of the [machine.Error] that is in err. It is false if there is none, or if it is no Data:
// the rules are those of [Decode].
func ErrorData[Data any](err error) (data Data, ok bool) {
	own, found := errors.AsType[*machine.Error](err)
	if !found {
		return data, false
	}
	switch held := own.Data.(type) {
	case json1.RawMessage: // it has come from a server
		var got Data
		if Decode(held, &got) != nil {
			return data, false
		}
		return got, true
	case Data: // it has come from a machine, in a test without a server
		return held, true
	}
	return data, false
}

// Own is err, which a server has answered, so that errors.As finds in it the machine's own error (code ≥ 1000) also as the
// *machine.Error that the machine returned, with Data as json.RawMessage, or nil. Other errors it returns as they are.
func Own(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code < 1000 {
		return err
	}
	own := &machine.Error{Code: e.Code, Message: e.Message}
	if e.Data != nil {
		own.Data = e.Data
	}
	return &ownError{own, err}
}

// ownError is an error of the machine's own: errors.As finds the machine.Error in it, and the Error on the wire.
type ownError struct {
	own *machine.Error
	err error
}

func (e *ownError) Error() string   { return e.err.Error() }
func (e *ownError) Unwrap() []error { return []error{e.own, e.err} }

// Decode decodes what a machine has put out. What was put out as an Out comes back as it was, as far as JSON carries it.
// Anything else is refused: unknown members, members in another case, duplicate ones, numbers that don't fit. Null, and a member
// left out, is the zero value.
func Decode[Out any](result json1.RawMessage, out *Out) error {
	return json.Unmarshal(result, out, asWritten)
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
