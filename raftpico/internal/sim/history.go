package sim

import (
	"math"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/raftpico/go/machine"
)

// judgeHistory lets Porcupine judge what the clients of commands and queries saw. A command whose outcome nobody knows
// has never returned; one that certainly was not applied, or a query that failed, is no part of the history.
func (c *checks) judgeHistory(w *world) {
	var ops []porcupine.Operation
	for i, r := range w.clients.history {
		op := porcupine.Operation{ClientId: i, Call: r.called, Return: r.returned, Output: r.output,
			Input: strings.Fields(strings.Trim(string(r.request.Input), `"`))}
		if !r.answered || r.err != nil {
			if r.request.Kind != machine.Command || c.never[r.id] != 0 {
				continue
			}
			op.Return, op.Output = math.MaxInt64, ""
		}
		ops = append(ops, op)
	}
	if verdict := porcupine.CheckOperationsTimeout(model, ops, time.Minute); verdict != porcupine.Ok {
		w.fail("Porcupine's verdict on %d operations: %s", len(ops), verdict)
	}
}

// model is a key. An output is the value before; "" fits always.
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
		return output == "" || output == old, transition(old, input.([]string))
	},
}
