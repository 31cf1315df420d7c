package wire

import (
	"bytes"
	"unicode/utf8"

	"github.com/raftpico/go/jsonrpc"
)

// decodeShortBatch decodes a batch of Apply commands as AppendBatch has written it. False means that it is something else.
func decodeShortBatch(data []byte) (*Batch, bool) {
	b, rest, fits := new(Batch), data, true
	literal := func(text string) {
		fits = fits && len(rest) >= len(text) && string(rest[:len(text)]) == text
		if fits {
			rest = rest[len(text):]
		}
	}
	number := func() (n uint64) {
		i := 0
		for ; fits && i < len(rest) && '0' <= rest[i] && rest[i] <= '9'; i++ {
			n = n*10 + uint64(rest[i]-'0')
		}
		fits = fits && 0 < i && i <= 18 && (rest[0] != '0' || i == 1) // longer ones might not fit into 64 bits
		if fits {
			rest = rest[i:]
		}
		return n
	}
	literal(`{"from":`)
	b.From = number()
	literal(`,"boot":"`)
	if i := bytes.IndexByte(rest[:min(len(rest), 65)], '"'); fits && i > 0 {
		b.Boot, rest = string(rest[:i]), rest[i+1:]
	}
	literal(`,"seq":`)
	b.Seq = number()
	literal(`,"time":`)
	b.Time = int64(number())
	literal(`,"commands":`)
	if !fits || !ValidToken(b.Boot) || b.From == 0 || len(rest) == 0 || rest[len(rest)-1] != '}' {
		return nil, false
	}
	b.Commands, fits = decodeApplies(rest[:len(rest)-1])
	return b, fits
}

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
