package node

import (
	"reflect"
	"time"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
)

// LogBytes is how many bytes of entries the core holds in memory.
func (n *Node) LogBytes() (bytes uint64) {
	first, _ := n.raft.log.FirstIndex()
	for _, e := range n.raft.log.behind(n.raft.log.place(first - 1)) {
		bytes += uint64(len(e.GetData()))
	}
	return bytes
}

// Backlog tells whether the next turn is due at once.
func (n *Node) Backlog() bool { return n.backlog() }

// Keys is how many keys somebody waits for.
func (n *Node) Keys() int { return len(n.waits.by) }

// WaitingBytes is how many bytes of inputs wait for a change.
func (n *Node) WaitingBytes() int { return n.waits.bytes }

// EncodeAny is EncodeOutput without its short ways.
func EncodeAny(output any) (json.RawMessage, *jsonrpc.Error) {
	result, err := marshal(output)
	if err != nil {
		return nil, ErrInvalidOutput.Because(err.Error())
	}
	return result, nil
}

// EncodeOutput makes an answer of what a machine has put out.
var EncodeOutput = encodeOutput

// AboutServers tells whether a command is about the servers of its cluster.
var AboutServers = aboutServers

// SystemMembers is how many members the system machine has as JSON, at most.
var SystemMembers = reflect.TypeFor[systemJSON]().NumField() - 1 + reflect.TypeFor[Timeouts]().NumField()

// Elapsed is the time last set.
func (n *Node) Elapsed() time.Duration { return n.clock.elapsed }

// Scratch is the memory that is kept for encoding entries, in bytes.
func (n *Node) Scratch() int { return cap(n.commands.scratch) }
