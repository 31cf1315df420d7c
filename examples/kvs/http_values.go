package main

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"

	"github.com/raftpico/go/machine"
)

// The machine's values are JSON, those of HTTP are bytes. Bytes that are text are a JSON string in the machine, any others are
// {"$bytes":"BASE64"}. Back it goes the same way, and bytes come back as they were. What clients of JSON-RPC have put is
// read like this too; a value that is neither of the two is its JSON text, without white space.

// bytesMember is the one member of an object that holds bytes.
const bytesMember = "$bytes"

// quote is text as a JSON string. Text must be UTF-8.
func quote(text string) json.RawMessage {
	quoted, err := jsontext.AppendQuote(nil, text)
	if err != nil {
		panic(err) // our callers have looked
	}
	return quoted
}

// encodeBytes is the machine's value for bytes.
func encodeBytes(b []byte) json.RawMessage {
	if utf8.Valid(b) {
		return quote(string(b))
	}
	return machineInput(bytesMember, quote(base64.StdEncoding.EncodeToString(b)))
}

// machineInput is {"TAG":VALUE}. Nothing in a tag needs to be escaped.
func machineInput(tag string, value json.RawMessage) json.RawMessage {
	return bytes.Join([][]byte{[]byte(`{"` + tag + `":`), value, []byte("}")}, nil)
}

// list is a JSON array.
func list(elements ...json.RawMessage) json.RawMessage {
	joined := make([][]byte, len(elements))
	for i, e := range elements {
		joined[i] = e
	}
	return append(append([]byte("["), bytes.Join(joined, []byte(","))...), ']')
}

// shape is how the machine holds what HTTP takes for bytes.
type shape int

const (
	asText  shape = iota // a JSON string
	asBytes              // {"$bytes":…}
	asJSON               // any other JSON
)

// decodeBytes is the inverse of encodeBytes, for any value of the machine.
func decodeBytes(value json.RawMessage) ([]byte, shape) {
	if len(value) > 0 && value[0] == '"' {
		if b, err := jsontext.AppendUnquote(nil, value); err == nil {
			return b, asText
		}
		return value, asJSON // half of a surrogate pair, which is no text
	}
	var object machine.Union
	var encoded string
	if object.UnmarshalJSON(value) != nil || object.Tag != bytesMember || object.Decode(&encoded) != nil {
		return value, asJSON
	}
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || utf8.Valid(b) || bytes.ContainsAny([]byte(encoded), "\r\n") { // not of our making
		return value, asJSON
	}
	return b, asBytes
}
