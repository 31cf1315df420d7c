package node

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

// PanicError is a panic of the user's machine. Its text is one line, which may be told to clients; the stack is for the
// log and for the owner of the machine.
type PanicError struct {
	What  string // the machine did
	Value string
	Stack string
}

// panicked makes an error of what was recovered. It must be called in the deferred function: there the stack is still
// that of the panic.
func panicked(what string, value any) *PanicError {
	text := strings.Join(strings.Fields(fmt.Sprint(value)), " ")
	return &PanicError{what, fmt.Sprintf("%.1024s", text), string(debug.Stack())}
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("node: the machine panicked %s: %s", e.What, e.Value)
}

// Facts are what a log line says of an error: its text, and the stack of a machine that panicked.
func Facts(err error) []any {
	if p, ok := errors.AsType[*PanicError](err); ok {
		return []any{"err", err, "stack", p.Stack}
	}
	return []any{"err", err}
}

// Traced is err with the stack of a machine that panicked in its text.
func Traced(err error) error {
	if p, ok := errors.AsType[*PanicError](err); ok {
		return fmt.Errorf("%w\n\n%s", err, p.Stack)
	}
	return err
}
