package sim

import (
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// judgeHistory lets Porcupine judge what the clients of commands and queries saw. A command whose client does not know its
// outcome never returned; but we know more of it: it had returned when it was first applied anywhere, or is no part of the
// history. Who passes with these returns passes without any, so this is the sharper verdict; with commands that never
// return the search would take for ever on some seeds.
func (c *checks) judgeHistory(w *world) {
	var ops []porcupine.Operation
	for i, r := range c.history {
		op := porcupine.Operation{ClientId: i, Call: r.called, Return: r.returned, Output: r.output,
			Input: strings.Fields(strings.Trim(string(r.request.Input), `"`))}
		if !r.answered || r.err != nil {
			known, ok := c.done[r.id]
			if !ok {
				continue
			}
			op.Return, op.Output = known.stamp, known.output
		}
		ops = append(ops, op)
	}
	if verdict := porcupine.CheckOperationsTimeout(model, ops, time.Minute); verdict != porcupine.Ok {
		w.fail("Porcupine's verdict on %d operations: %s", len(ops), verdict)
	}
}

// model is a key. An output is the value before.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var keys []string
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.([]string)[2]
			if byKey[key] == nil {
				keys = append(keys, key)
			}
			byKey[key] = append(byKey[key], op)
		}
		parts := make([][]porcupine.Operation, len(keys))
		for i, key := range keys {
			parts[i] = byKey[key]
		}
		return parts
	},
	Init: func() any { return "-" },
	Step: func(state, input, output any) (bool, any) {
		old := state.(string)
		return output == old, transition(old, input.([]string))
	},
}
