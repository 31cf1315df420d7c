package main

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// kvs is a replicated map from strings to JSON values, which are kept as they came. Its input is one of
//
//	{"Put":[KEY,VALUE]}   → the previous value, or null     Command only
//	{"Delete":KEY}        → the same                        Command only
//	{"Get":KEY}           → the value, or null
//	"List"                → the keys, sorted
type kvs struct{ store }

// Apply carries out one operation.
func (m *kvs) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	switch in.Tag {
	case "Put":
		var key string
		var value json.RawMessage
		if err := in.Tuple(&key, &value); err != nil {
			return nil, err
		}
		if err := mustBeCommand(ctx, in); err != nil {
			return nil, err
		}
		return m.put(key, bytes.Clone(value)), nil // the value alone, not the log entry around it
	case "Delete":
		var key string
		if err := in.Decode(&key); err != nil {
			return nil, err
		}
		if err := mustBeCommand(ctx, in); err != nil {
			return nil, err
		}
		return m.delete(key), nil
	case "Get":
		var key string
		err := in.Decode(&key)
		return m.get(key), err
	case "List":
		return m.keys(), in.Unit()
	}
	return nil, fmt.Errorf("unknown operation %.32q", in.Tag)
}

// mustBeCommand keeps queries from changing one replica behind the others' backs.
func mustBeCommand(ctx *machine.Context, in machine.Union) error {
	if ctx.Kind != machine.Command {
		return fmt.Errorf("%s must be a Command, not a %s", in.Tag, ctx.Kind)
	}
	return nil
}
