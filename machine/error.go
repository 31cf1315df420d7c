package machine

import (
	"errors"
	"fmt"
)

// ErrNoOutput is returned by Apply to answer nothing: the client gets wire error 105. Test with errors.Is.
var ErrNoOutput = errors.New("machine: no output")

// Error is an error with a meaning of the machine's own. Returned by Apply, also wrapped, it goes to the client as it
// is: {"code":1001,"message":"account overdrawn","data":{"balance":5}}. Codes below 1000 are the framework's; an Error
// with such a code is treated like any other error (103).
type Error struct {
	Code    int // ≥ 1000
	Message string
	Data    any // becomes JSON like an output; nil leaves the member out
}

// Error returns the message and the code.
func (e *Error) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }
