// Package jsonrpc speaks JSON-RPC 2.0 over JSON Lines over TCP: messages, a strict decoder, a line reader, a server
// that works in batches, and a pipelining client. It can be used alone.
//
// # Format
//
// One JSON value a line, UTF-8, ended by "\n" ("\r\n" is accepted; lines that are empty, or white space only, are
// ignored; the last line before the end of the stream may lack its newline, and so may an object or an array of up to
// 32 KiB after which nothing comes for 100 ms). A request and its two possible answers:
//
//	{"jsonrpc":"2.0","method":"Add","params":{"by":2},"id":0}
//	{"jsonrpc":"2.0","id":0,"result":2}
//	{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"Invalid params","data":{"reason":"by: not a number"}}}
//
// Many requests may be under way on one connection; answers carry the request's id, byte for byte, and may come in
// another order. A request without id is a notification and is never answered. A line may be a batch, an array of
// requests; its answer is one array.
//
// A line that is not JSON (RFC 8259), not UTF-8 or nested deeper than [MaxDepth] is answered [ErrParse] with the id
// null. JSON that is no request is answered [ErrInvalidRequest], with a reason, and with the request's id where one
// could be read, else null: a scalar, no method or one that is no string, a version other than "2.0", an id that is no
// number, string or null, params that are neither object nor array (nor may they be null: "MUST be provided as a
// Structured value", JSON-RPC 2.0 §4.2), a member given twice, more than [MaxMembers] members. Member names are
// case-sensitive, unknown members are ignored.
//
// The same connection goes on after such a line. Two things end it, after one answer: a line longer than the limit,
// and a first line that is no JSON, so that no web page can have a browser post requests. HTTP is answered with HTTP,
// TLS with an alert.
package jsonrpc

import (
	"strconv"

	"github.com/goccy/go-json"
)

// Request is a request or a notification. Decoded ones alias the line they came in.
type Request struct {
	Method string
	Params json.RawMessage // an object or an array; nil when absent
	ID     json.RawMessage // a number, a string or null, as sent; nil in a notification
}

// Response is an answer: Result if Err is nil. Decoded ones alias the line they came in.
type Response struct {
	ID     json.RawMessage
	Result json.RawMessage
	Err    *Error
}

// AppendRequest appends a request, without newline. Params and ID must be valid JSON without newline, or nil.
func AppendRequest(dst []byte, r *Request) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","method":`...)
	dst = appendString(dst, r.Method)
	if r.Params != nil {
		dst = append(dst, `,"params":`...)
		dst = append(dst, r.Params...)
	}
	if r.ID != nil {
		dst = append(dst, `,"id":`...)
		dst = append(dst, r.ID...)
	}
	return append(dst, '}')
}

// AppendResult appends the answer of a request that succeeded, without newline. Result must be valid JSON without
// newline; an empty one is null, as is an empty id.
func AppendResult(dst, id, result []byte) []byte {
	dst = appendID(dst, id)
	dst = append(dst, `,"result":`...)
	dst = appendOrNull(dst, result)
	return append(dst, '}')
}

// AppendError appends the answer of a request that failed, without newline. An empty id is null.
func AppendError(dst, id []byte, e *Error) []byte {
	dst = appendID(dst, id)
	dst = append(dst, `,"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(e.Code), 10)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	if len(e.Data) > 0 {
		dst = append(dst, `,"data":`...)
		dst = append(dst, e.Data...)
	}
	return append(dst, "}}"...)
}

func appendID(dst, id []byte) []byte {
	return appendOrNull(append(dst, `{"jsonrpc":"2.0","id":`...), id)
}

func appendOrNull(dst, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, value...)
}

// appendString appends s in quotes.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			b, _ := encode(s) // a string always encodes
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// encode is v as JSON on one line, without HTML escapes.
//
// NB: json.MarshalNoEscape does escape HTML; its name means the escape analysis of the compiler.
func encode(v any) ([]byte, error) {
	return json.MarshalWithOption(v, json.DisableHTMLEscape())
}
