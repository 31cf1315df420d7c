package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// gen prints random requests for the key-value example: 3-letter keys, 32-bit values. The same flags print the same
// requests.
func gen(c *console, args []string) error {
	f := newFlags()
	var count, size int
	var seed uint64
	for _, name := range []string{"count", "c"} {
		f.IntVar(&count, name, 1, "")
	}
	f.Uint64Var(&seed, "seed", 0, "")
	f.IntVar(&size, "value-size", 0, "")
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	kind := map[string]string{"put": "Command", "get": "Query", "localget": "LocalQuery"}[args[0]]
	switch {
	case kind == "":
		return usageError(fmt.Sprintf("%q is none of put, get and localget", args[0]))
	case count < 1:
		return usageError("--count must be at least 1")
	case size < 0:
		return usageError("--value-size must not be negative")
	}
	r := rand.New(rand.NewPCG(seed, 0))
	out := bufio.NewWriterSize(c.out, blockSize)
	progress := newProgress(c.err)
	defer progress.end()
	var line []byte
	for id := range count {
		line = append(append(append(line[:0], `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"`...), kind...), `","input":{`...)
		if kind == "Command" {
			line = appendLetters(append(line, `"Put":["`...), r, 3)
			line = append(line, `",`...)
			if size == 0 {
				line = strconv.AppendUint(line, uint64(r.Uint32()), 10)
			} else {
				line = append(appendLetters(append(line, '"'), r, size), '"')
			}
			line = append(line, ']')
		} else {
			line = append(appendLetters(append(line, `"Get":"`...), r, 3), '"')
		}
		line = strconv.AppendInt(append(line, `}},"id":`...), int64(id), 10)
		line = append(line, "}\n"...)
		if _, err := out.Write(line); err != nil {
			return err
		}
		if id%1024 == 0 {
			progress.show("%d of %d requests", id, count)
		}
	}
	return out.Flush()
}

func appendLetters(dst []byte, r *rand.Rand, n int) []byte {
	for range n {
		dst = append(dst, byte('a'+r.IntN(26)))
	}
	return dst
}
