package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
)

// kvs is a replicated map from strings to JSON values, which are kept as they came. Its input is one of
//
//	{"Put":[KEY,VALUE]}             → the previous value, or null     Command only
//	{"Delete":KEY}                  → the same                        Command only
//	{"Get":KEY}                     → the value, or null
//	"List"                          → the keys, sorted
//	{"PutIf":[KEY,VERSION,VALUE]}   → {"version":7}                   Command only
//	{"GetVersion":KEY}              → {"version":7,"value":VALUE}
//	{"Watch":[KEY,VERSION]}         → the same                        Query or LocalQuery only
//	{"PutAll":[[KEY,VALUE],…]}      → {"version":9}, the last one's   Command only
//	{"Keys":{"prefix":P,"after":KEY,"limit":N}}
//	                                → {"keys":[KEY,…],"more":true}    each member may be left out
//
// Each value that is put has a version of its own, 1 or more; a missing key has version 0. PutIf puts only if the version is still
// the one that is given; else it is error 1001, whose data tell the version. Watch answers when the version is another one
// than that given: at once, or when the key changes, or when its time is up, with the old one then. PutAll puts all of its
// pairs or, at an error, none; a key that is in it twice is one. Its values get versions in a row, in their order.
//
// The first build of this machine had the first four operations, and no versions; the second one had all but the last two. So it is
// machine.Versioned: versions of values are counted from the same command on, on all servers, when all of them run the second build.
// The values of before have version 1.
type kvs struct {
	store
	answer json.RawMessage // what Apply has answered last
}

// versionDiffers is the code of PutIf's error.
const versionDiffers = 1001

// Version implements machine.Versioned.
func (m *kvs) Version() int { return 2 }

// Needs keeps what an older build does not know from servers that run it.
func (m *kvs) Needs(in machine.Union) int {
	switch in.Tag {
	case "PutIf":
		return 1
	case "PutAll", "Keys":
		return 2
	}
	return 0
}

// versioned is a value with its version.
type versioned struct {
	Version uint64          `json:"version"`
	Value   json.RawMessage `json:"value"`
}

// newVersion is the version that a value has got, or has.
type newVersion struct {
	Version uint64 `json:"version"`
}

// Apply carries out one operation.
func (m *kvs) Apply(ctx *machine.Context, in machine.Union) (any, error) {
	if ctx.Kind == machine.Command && ctx.Version >= 1 {
		m.number()
	}
	switch in.Tag {
	case "Put":
		key, value, err := machine.Tuple2[string, json.RawMessage](in)
		if err != nil {
			return nil, err
		}
		if err := mustBeCommand(ctx, in); err != nil {
			return nil, err
		}
		ctx.Wake(key)
		return m.raw(m.put(key, kept(value)).value), nil
	case "Delete":
		key, err := machine.Decode[string](in)
		if err != nil {
			return nil, err
		}
		if err := mustBeCommand(ctx, in); err != nil {
			return nil, err
		}
		ctx.Wake(key)
		return m.raw(m.delete(key).value), nil
	case "Get":
		key, err := machine.Decode[string](in)
		return m.raw(m.get(key).value), err
	case "List":
		return m.keys(), in.Unit()
	case "PutIf":
		return m.putIf(ctx, in)
	case "GetVersion":
		key, err := machine.Decode[string](in)
		e := m.get(key)
		return versioned{e.version, e.value}, err
	case "Watch":
		return m.watch(ctx, in)
	case "PutAll":
		return m.putAll(ctx, in)
	case "Keys":
		return m.listKeys(in)
	}
	return nil, fmt.Errorf("unknown operation %.32q", in.Tag)
}

// raw makes an answer of a value, without an allocation.
func (m *kvs) raw(value json.RawMessage) *json.RawMessage {
	m.answer = value
	return &m.answer
}

// putIf is compare and swap.
func (m *kvs) putIf(ctx *machine.Context, in machine.Union) (any, error) {
	key, version, value, err := machine.Tuple3[string, uint64, json.RawMessage](in)
	if err != nil {
		return nil, err
	}
	if err := mustBeCommand(ctx, in); err != nil {
		return nil, err
	}
	if now := m.get(key).version; now != version {
		return nil, &machine.Error{Code: versionDiffers, Message: "Version differs", Data: newVersion{now}}
	}
	m.put(key, kept(value))
	ctx.Wake(key)
	return newVersion{m.revision}, nil
}

// kept is a command's one value, to be kept: a copy, or else the log's entry would stay in memory with it. But of an entry a
// large value is the half at least.
func kept(value json.RawMessage) json.RawMessage {
	if len(value) >= machine.Large {
		return value
	}
	return bytes.Clone(value)
}

// watch waits until a key's version is another one.
func (m *kvs) watch(ctx *machine.Context, in machine.Union) (any, error) {
	key, version, err := machine.Tuple2[string, uint64](in)
	if err != nil {
		return nil, err
	}
	if ctx.Kind == machine.Command {
		return nil, errors.New("a watch must be a Query or a LocalQuery, not a Command")
	}
	now := m.get(key)
	if now.version == version {
		ctx.Wait(key)
	}
	return versioned{now.version, now.value}, nil
}

// mustBeCommand keeps queries from changing one replica behind the others' backs.
func mustBeCommand(ctx *machine.Context, in machine.Union) error {
	if ctx.Kind != machine.Command {
		return fmt.Errorf("%s must be a Command, not a %s", in.Tag, ctx.Kind)
	}
	return nil
}
