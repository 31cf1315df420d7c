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
	first := map[int]int64{} // of those with several attempts: when the first was sent, by id
	for i, r := range c.history {
		op := porcupine.Operation{ClientId: i, Call: r.called, Return: r.returned, Output: r.output,
			Input: strings.Fields(strings.Trim(string(r.request.Input), `"`))}
		words := op.Input.([]string)
		switch {
		case r.watch != "":
			op.Input = []string{words[0], "get", r.watch}
		case len(words) < 3 || !isOfValue(words[1]):
			continue
		}
		if r.tag != 0 {
			if _, again := first[r.id]; again {
				continue
			}
			first[r.id] = r.called
		}
		if !r.answered || r.err != nil || r.tag != 0 {
			known, ok := c.done[r.id]
			if !ok {
				continue
			}
			op.Return, op.Output = known.stamp, known.output
		}
		ops = append(ops, op)
	}
	ops = withoutNeedlessReads(ops)
	if verdict := porcupine.CheckOperationsTimeout(model, ops, time.Minute); verdict != porcupine.Ok {
		w.fail("Porcupine's verdict on %d operations: %s", len(ops), verdict)
	}
}

// withoutNeedlessReads drops reads that tell nothing more than others do. A value that was written once was there for one span of
// time. All who have read it were there in that span if the one was who returned first, and the one who was called last. Without
// this the search takes for ever where many read at once: once it has put a write too early, it tries every set of them.
func withoutNeedlessReads(ops []porcupine.Operation) []porcupine.Operation {
	type value struct{ key, text string }
	input := func(op *porcupine.Operation) []string { return op.Input.([]string) }
	writes := map[value]int{}
	type span struct{ first, last int } // indexes of reads
	reads := map[value]span{}
	for i := range ops {
		op := &ops[i]
		key, old := input(op)[2], op.Output.(string)
		if next := transition(old, input(op)); next != old {
			writes[value{key, next}]++
		}
		if input(op)[1] != "get" {
			continue
		}
		v := value{key, old}
		s, known := reads[v]
		if !known {
			s = span{i, i}
		}
		if op.Return < ops[s.first].Return {
			s.first = i
		}
		if op.Call > ops[s.last].Call {
			s.last = i
		}
		reads[v] = s
	}
	var kept []porcupine.Operation
	for i := range ops {
		v := value{input(&ops[i])[2], ops[i].Output.(string)}
		if s := reads[v]; input(&ops[i])[1] != "get" || writes[v] > 1 || i == s.first || i == s.last {
			kept = append(kept, ops[i])
		}
	}
	return kept
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
