package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/spf13/cobra"
)

// kinds are what gen makes, and the kind of the request.
var kinds = map[string]string{"put": "Command", "get": "Query", "localget": "LocalQuery"}

// generator makes random requests for the key-value example: 3-letter keys, 32-bit values. The same flags make the same
// requests.
type generator struct {
	count, size int
	seed        uint64
}

func newGen() *cobra.Command {
	var g generator
	cmd := &cobra.Command{
		Use:               "gen put|get|localget [-c N] [--seed S] [--value-size BYTES]",
		Short:             "print random requests for the key-value example",
		Args:              exactly("put, get or localget"),
		ValidArgsFunction: cobra.FixedCompletions([]string{"put", "get", "localget"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case kinds[args[0]] == "":
				return usageError(fmt.Sprintf("%q is none of put, get and localget", args[0]))
			case g.count < 1:
				return usageError("--count must be at least 1")
			case g.size < 0 || g.size > lineLimit/2:
				return usageError(fmt.Sprintf("--value-size must be from 0 to %d", lineLimit/2))
			}
			return g.run(cmd, kinds[args[0]])
		},
	}
	cmd.Flags().IntVarP(&g.count, "count", "c", 1, "how many")
	cmd.Flags().Uint64Var(&g.seed, "seed", 0, "what chance starts from: the same seed, the same requests")
	cmd.Flags().IntVar(&g.size, "value-size", 0, "put strings of so many bytes; 0: integers")
	return cmd
}

func (g *generator) run(cmd *cobra.Command, kind string) error {
	r := rand.New(rand.NewPCG(g.seed, 0))
	out := bufio.NewWriterSize(cmd.OutOrStdout(), blockSize)
	bar := newProgress(besideOutput(cmd), int64(g.count), "requests")
	defer bar.Finish()
	var line []byte
	for id := range g.count {
		line = g.appendRequest(line[:0], r, kind, id)
		if _, err := out.Write(line); err != nil {
			return err
		}
		if id%1024 == 0 {
			_ = bar.Set(id)
		}
	}
	return out.Flush()
}

func (g *generator) appendRequest(line []byte, r *rand.Rand, kind string, id int) []byte {
	line = append(append(append(line, `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"`...), kind...), `","input":{`...)
	if kind == "Command" {
		line = appendLetters(append(line, `"Put":["`...), r, 3)
		line = append(line, `",`...)
		if g.size == 0 {
			line = strconv.AppendUint(line, uint64(r.Uint32()), 10)
		} else {
			line = append(appendLetters(append(line, '"'), r, g.size), '"')
		}
		line = append(line, ']')
	} else {
		line = append(appendLetters(append(line, `"Get":"`...), r, 3), '"')
	}
	line = strconv.AppendInt(append(line, `}},"id":`...), int64(id), 10)
	return append(line, "}\n"...)
}

func appendLetters(dst []byte, r *rand.Rand, n int) []byte {
	for range n {
		dst = append(dst, byte('a'+r.IntN(26)))
	}
	return dst
}
