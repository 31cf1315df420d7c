package main

import (
	"context"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/client"
	"github.com/raftpico/go/machine"
)

func init() {
	for _, s := range []struct {
		name, about string
		options     client.Options
	}{
		{"raftpico-client", "this project, asked by its own Go client: a goroutine for each operation under way", client.Options{}},
		{"raftpico-client-plain", "the same, without sessions", client.Options{NoSessions: true}},
	} {
		register(&System{
			Name: s.name, About: s.about, Kinds: []Kind{Put, Get, LocalGet}, Shared: true,
			Prepare: buildKVS, Node: runKVS, Form: formKVS, Leader: leaderOfKVS, Syncs: syncsOfKVS,
			Dial: func(_ context.Context, addr string) (Client, error) {
				c := client.NewWith(s.options, addr)
				return newBlocking(callKVS(c), c.Close), nil
			},
		})
	}
}

// callKVS carries out operations by a client.
func callKVS(c *client.Client) func(Op) error {
	return func(op Op) error {
		kind, input := inputOfKVS(op)
		return c.Apply(context.Background(), kind, input, nil)
	}
}

// inputOfKVS is an operation as the machine takes it.
func inputOfKVS(op Op) (machine.Kind, json.RawMessage) {
	if op.Kind == Put {
		input := append(append(append(make([]byte, 0, 32+len(op.Value)), `{"Put":["`...), op.Key...), `","`...)
		return machine.Command, append(append(input, op.Value...), `"]}`...)
	}
	input := append(append(append(make([]byte, 0, 32), `{"Get":"`...), op.Key...), `"}`...)
	if op.Kind == LocalGet {
		return machine.LocalQuery, input
	}
	return machine.Query, input
}
