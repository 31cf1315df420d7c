package main

import (
	"testing"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/machinetest"
)

var machineConfig = machinetest.Config{
	New: func() machine.Machine { return machine.JSON(&kvs{}) },
	Inputs: []any{
		json.RawMessage(`{"Put":["foo",1]}`),
		json.RawMessage(`{"Put":["foo",{"a":[1.50,"<x>"]}]}`),
		json.RawMessage(`{"Put":["bar",null]}`),
		json.RawMessage(`{"Delete":"foo"}`),
		json.RawMessage(`{"Get":"foo"}`),
		json.RawMessage(`"List"`),
		json.RawMessage(`{"PutIf":["foo",1,2]}`),
		json.RawMessage(`{"GetVersion":"foo"}`),
		json.RawMessage(`{"Watch":["foo",1]}`),
		json.RawMessage(`{"PutAll":[["foo",5],["baz",[]]]}`),
		json.RawMessage(`{"PutAll":[["bar",5],["bar",6]]}`),
		json.RawMessage(`{"Keys":{"prefix":"b","limit":1}}`),
		json.RawMessage(`{"Keys":{"after":"bar"}}`),
	},
}

func TestMachine(t *testing.T) { machinetest.Run(t, machineConfig) }

func FuzzMachine(f *testing.F) { machinetest.Fuzz(f, machineConfig) }
