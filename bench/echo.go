package main

import (
	"context"
	"net"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

func init() {
	register(&System{
		Name: "echo", About: "package jsonrpc alone, answering each request with its input: the ceiling of the protocol",
		Kinds: []Kind{LocalGet}, Node: runEcho,
		Dial: func(ctx context.Context, addr string) (Client, error) { return dialLines(ctx, addr, encodeKVS) },
	})
	register(&System{
		Name: "raftpico-echo", About: "this project with a machine that answers its input",
		Kinds: []Kind{Put, Get, LocalGet}, Node: runEchoMachine, Form: formKVS, Leader: leaderOfKVS, Syncs: syncsOfKVS,
		Dial: func(ctx context.Context, addr string) (Client, error) { return dialLines(ctx, addr, encodeKVS) },
	})
}

func runEcho(ctx context.Context, n NodeConfig) error {
	l, err := net.Listen("tcp", n.Addrs[n.ID-1])
	if err != nil {
		return err
	}
	s := &jsonrpc.Server{Logger: quiet, Handler: func(calls []jsonrpc.Call) {
		for i := range calls {
			calls[i].Result(inputOf(calls[i].Params))
		}
		calls[0].Conn().Flush()
	}}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s.Serve(l)
}

func inputOf(params json.RawMessage) (input json.RawMessage) {
	_ = jsonrpc.Members(params, func(name, value []byte) error {
		if string(name) == "input" {
			input = value
		}
		return nil
	})
	return input
}

// echoMachine is no state at all.
type echoMachine struct{}

func (echoMachine) Apply(_ *machine.Context, input json.RawMessage) (any, error) { return input, nil }
func (echoMachine) Snapshot() (json.RawMessage, error)                           { return json.RawMessage("{}"), nil }
func (echoMachine) Restore(json.RawMessage) error                                { return nil }

func runEchoMachine(ctx context.Context, n NodeConfig) error {
	return raftpico.Run(ctx, echoMachine{}, raftpico.Options{Addr: n.Addrs[n.ID-1], File: n.Dir + "/log.jsonl", Logger: quiet})
}
