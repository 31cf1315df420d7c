package wire

import (
	"bytes"
	"unicode/utf8"

	"github.com/raftpico/go/jsonrpc"
)

// decodeCommands decodes an array of commands. Most are the Apply commands of one turn, as AppendCommand has written them;
// those are spared the JSON package, which takes several times as long and grows its slices. The inputs do not alias data.
func decodeCommands(data []byte) ([]Command, error) {
	if commands, ok := decodeApplies(data); ok {
		return commands, nil
	}
	return decodeAnyCommands(data)
}

// deepest bounds the recursion. What is deeper goes to the JSON package, which has bounds of its own.
const deepest = 4096

// decodeApplies decodes [{"Apply":…},{"Apply":…},…] without white space between. False means that it is something else, or no
// JSON at all.
func decodeApplies(data []byte) ([]Command, bool) {
	const open = `{"Apply":`
	if len(data) < len(`[`)+len(open) || data[0] != '[' || string(data[1:1+len(open)]) != open || !utf8.Valid(data) {
		return nil, false
	}
	data = bytes.Clone(data)
	commands := make([]Command, 0, bytes.Count(data, []byte(open))) // an input may hold it too, so it may be too much
	for i := 1; ; i++ {
		if len(data)-i < len(open) || string(data[i:i+len(open)]) != open {
			return nil, false
		}
		from := i + len(open)
		end := jsonrpc.ScanValue(data, from, deepest)
		if end < 0 || end+1 >= len(data) || data[end] != '}' {
			return nil, false
		}
		commands = append(commands, Command{Apply: data[from:end:end]})
		switch i = end + 1; data[i] {
		case ',':
		case ']':
			return commands, i == len(data)-1
		default:
			return nil, false
		}
	}
}
