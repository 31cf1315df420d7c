package machine

import "fmt"

// Kind tells how a request reaches the machine. The zero value is none of the kinds: a forgotten kind is an error,
// never a command.
type Kind uint8

const (
	Command    Kind = iota + 1 // replicated by the log, applied on every server; alone may change the state
	Query                      // linearizable read on the server asked, without an entry in the log
	LocalQuery                 // read of what the server asked has at hand; may be stale
)

var kindNames = [...]string{Command: "Command", Query: "Query", LocalQuery: "LocalQuery"}

// String returns the name on the wire.
func (k Kind) String() string {
	if !k.valid() {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// MarshalText returns the name on the wire, or an error if k is none of the kinds.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.valid() {
		return nil, fmt.Errorf("machine: %s is no kind", k)
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText takes exactly the names on the wire.
func (k *Kind) UnmarshalText(text []byte) error {
	for kind := Command; kind <= LocalQuery; kind++ {
		if string(text) == kindNames[kind] {
			*k = kind
			return nil
		}
	}
	return fmt.Errorf("machine: unknown kind %.32q", text)
}

func (k Kind) valid() bool { return Command <= k && k <= LocalQuery }
