package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// mostPairs is how many keys one PutAll may put: what takes some milliseconds.
const mostPairs = 10_000

// putAll puts several keys, or none: all are looked at before the first one changes.
func (m *kvs) putAll(ctx *machine.Context, in machine.Union) (any, error) {
	var elements []json.RawMessage
	if err := in.Decode(&elements); err != nil {
		return nil, err
	}
	if err := mustBeCommand(ctx, in); err != nil {
		return nil, err
	}
	if len(elements) == 0 {
		return nil, errors.New("PutAll takes at least one key with its value")
	}
	if len(elements) > mostPairs {
		return nil, fmt.Errorf("PutAll takes at most %d keys", mostPairs)
	}
	keys := make([]string, len(elements))
	values := make([]json.RawMessage, len(elements))
	seen := make(map[string]bool, len(elements))
	for i, e := range elements {
		if err := (machine.Union{Tag: in.Tag, Value: e}).Tuple(&keys[i], &values[i]); err != nil {
			return nil, fmt.Errorf("pair %d: %w", i, err)
		}
		if seen[keys[i]] {
			return nil, fmt.Errorf("pair %d: the key %.64q is given twice", i, keys[i])
		}
		seen[keys[i]] = true
	}
	for i, key := range keys {
		m.put(key, bytes.Clone(values[i]))
		ctx.Wake(key)
	}
	return newVersion{m.revision}, nil
}
