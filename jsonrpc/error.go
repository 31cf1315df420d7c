package jsonrpc

import (
	"fmt"

	"github.com/goccy/go-json"
)

// Error is both a Go error and the error object of an answer. Treat it as a constant: to add data, use With.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"` // valid JSON without newline, or nil
}

// The errors that JSON-RPC 2.0 defines (§5.1). Compare with errors.Is.
var (
	ErrParse          = &Error{Code: -32700, Message: "Parse error"}
	ErrInvalidRequest = &Error{Code: -32600, Message: "Invalid request"}
	ErrMethodNotFound = &Error{Code: -32601, Message: "Method not found"}
	ErrInvalidParams  = &Error{Code: -32602, Message: "Invalid params"}
	ErrInternal       = &Error{Code: -32603, Message: "Internal error"}
)

func (e *Error) Error() string {
	if len(e.Data) == 0 {
		return fmt.Sprintf("%s (code %d)", e.Message, e.Code)
	}
	return fmt.Sprintf("%s (code %d): %.200s", e.Message, e.Code, e.Data)
}

// Is reports whether target is an *Error of the same code, whatever its message and data.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// With is a copy of e that carries data, encoded as JSON. Data that can't be encoded is left out.
func (e *Error) With(data any) *Error {
	c := *e
	c.Data, _ = encode(data)
	return &c
}

// Because is a copy of e with {"reason":…} as its data.
func (e *Error) Because(reason string) *Error {
	return e.With(struct {
		Reason string `json:"reason"`
	}{reason})
}
