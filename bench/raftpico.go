package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/goccy/go-json"
	"github.com/goccy/go-json/jsontext"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/machine/table"
	"github.com/raftpico/go/raftpico"
)

func init() {
	register(&System{
		Name: "raftpico", About: "this project: three kvs processes, JSON-RPC over TCP",
		Kinds:   []Kind{Put, Get, LocalGet},
		Prepare: buildKVS, Node: runKVS, Form: formKVS, Leader: leaderOfKVS, Syncs: syncsOfKVS,
		Dial: func(ctx context.Context, addr string) (Client, error) { return dialLines(ctx, addr, encodeKVS) },
	})
	register(&System{
		Name: "raftpico-local", About: "this project in process",
		Kinds: []Kind{Put, Get, LocalGet}, Local: func(ctx context.Context, c LocalConfig) (Cluster, error) {
			return startLocal(ctx, c, func(s *raftpico.Server) Client { return newBlocking(applyTo(s), nil) })
		},
	})
	register(&System{
		Name: "raftpico-lease", About: "raftpico whose leader reads under a lease",
		Kinds:   []Kind{Put, Get, LocalGet},
		Prepare: buildKVS, Node: runKVS, Form: formLeasing, Leader: leaderOfKVS, Syncs: syncsOfKVS,
		Dial: func(ctx context.Context, addr string) (Client, error) { return dialLines(ctx, addr, encodeKVS) },
	})
	register(&System{
		Name: "raftpico-local-lease", About: "raftpico-local whose leader reads under a lease",
		Kinds: []Kind{Put, Get, LocalGet}, Local: func(ctx context.Context, c LocalConfig) (Cluster, error) {
			c.LeaseReads = true
			return startLocal(ctx, c, func(s *raftpico.Server) Client { return newBlocking(applyTo(s), nil) })
		},
	})
	register(&System{
		Name: "raftpico-begin", About: "this project in process, asynchronously: Server.Begin",
		Kinds: []Kind{Put, Get, LocalGet}, Local: func(ctx context.Context, c LocalConfig) (Cluster, error) {
			return startLocal(ctx, c, func(s *raftpico.Server) Client { return newPipeline(beginAt(s)) })
		},
	})
}

// kvsProgram is where Prepare puts the program, relative to the directory of all runs.
const kvsProgram = "kvs"

func buildKVS(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, kvsProgram), "github.com/raftpico/go/examples/kvs")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// runKVS becomes the program: it is measured as its users run it.
func runKVS(_ context.Context, n NodeConfig) error {
	program := filepath.Join(n.Programs, kvsProgram)
	return syscall.Exec(program, []string{program, n.Addrs[n.ID-1], filepath.Join(n.Dir, "log.jsonl")}, os.Environ())
}

func formKVS(ctx context.Context, addrs []string) error { return form(ctx, addrs, nil) }

func formLeasing(ctx context.Context, addrs []string) error {
	return form(ctx, addrs, map[string]bool{"lease_reads": true})
}

// form makes servers a cluster that is created as params tell.
func form(ctx context.Context, addrs []string, params any) error {
	c, err := jsonrpc.Dial(ctx, addrs[0])
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Call(ctx, "CreateCluster", params, nil)
	for _, addr := range addrs[1:] {
		err = errors.Join(err, c.Call(ctx, "AddServer", map[string]string{"addr": addr}, nil))
	}
	return err
}

func stateOfKVS(ctx context.Context, addr string) (state raftpico.State, err error) {
	c, err := jsonrpc.Dial(ctx, addr)
	if err != nil {
		return state, err
	}
	defer c.Close()
	return state, c.Call(ctx, "GetServerState", map[string]bool{"machines": false}, &state)
}

func syncsOfKVS(ctx context.Context, addrs []string) (syncs uint64, err error) {
	for _, addr := range addrs {
		state, err := stateOfKVS(ctx, addr)
		if err != nil {
			return 0, err
		}
		syncs += state.Log.Syncs
	}
	return syncs, nil
}

func leaderOfKVS(ctx context.Context, addrs []string) (int, error) {
	for i, addr := range addrs {
		state, err := stateOfKVS(ctx, addr)
		if err != nil {
			return 0, err
		}
		if state.Role == "Leader" {
			return i, nil
		}
	}
	return 0, errors.New("nobody leads")
}

func encodeKVS(dst []byte, op Op) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","method":"Apply","params":{"kind":"`...)
	switch op.Kind {
	case Put:
		dst = append(append(dst, `Command","input":{"Put":["`...), op.Key...)
		dst = append(append(dst, `","`...), op.Value...)
		return append(dst, `"]}}`...)
	case Get:
		dst = append(dst, `Query","input":{"Get":"`...)
	default:
		dst = append(dst, `LocalQuery","input":{"Get":"`...)
	}
	return append(append(dst, op.Key...), `"}}`...)
}

// store is a machine like that of kvs, which is a program and can't be imported. But a Put answers nothing, as those of the other
// libraries do: the one of kvs answers the value before.
type store struct {
	values table.Table[json.RawMessage]
	answer json.RawMessage // to the last Get
}

func (s *store) Apply(_ *machine.Context, in machine.Union) (any, error) {
	switch in.Tag {
	case "Put":
		key, value, err := machine.Tuple2[string, json.RawMessage](in)
		if err != nil {
			return nil, err
		}
		if len(value) < machine.Large {
			value = bytes.Clone(value) // without the entry around it, as kvs does
		}
		s.values.Set(key, value)
		return nil, nil
	case "Get":
		key, err := machine.Decode[string](in)
		if err != nil {
			return nil, err
		}
		s.answer, _ = s.values.Get(key)
		return &s.answer, nil
	}
	return nil, fmt.Errorf("no %s", in.Tag)
}

// Capture implements machine.Snapshotter.
func (s *store) Capture() (write func(io.Writer) error, err error) {
	values := s.values.Clone()
	return func(w io.Writer) error {
		return values.Encode(w, func(dst []byte, value json.RawMessage) ([]byte, error) { return append(dst, value...), nil })
	}, nil
}

// Load implements machine.Snapshotter.
func (s *store) Load(r io.Reader) (install func(), err error) {
	fresh := new(store)
	in := jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true))
	err = fresh.values.Decode(in, func(_ string, text []byte) (json.RawMessage, error) { return bytes.Clone(text), nil })
	return func() { *s = *fresh }, err
}

// local is a cluster in this process.
type local struct {
	servers []*raftpico.Server
	clients []Client
}

func startLocal(ctx context.Context, c LocalConfig, client func(*raftpico.Server) Client) (Cluster, error) {
	l := &local{}
	for i := range c.Servers {
		s, err := raftpico.Start(machine.JSON(&store{}), raftpico.Options{Addr: freeAddr(), Logger: quiet,
			File: filepath.Join(c.Dir, fmt.Sprint(i), "log.jsonl"), InMemory: c.InMemory})
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.servers = append(l.servers, s)
		l.clients = append(l.clients, client(s))
	}
	_, err := l.servers[0].CreateCluster(ctx, raftpico.Timeouts{})
	if c.LeaseReads {
		err = errors.Join(err, l.servers[0].Configure(ctx, raftpico.Configuration{LeaseReads: true}))
	}
	for _, s := range l.servers[1:] {
		_, added := l.servers[0].AddServer(ctx, s.Addr())
		err = errors.Join(err, added)
	}
	return l, err
}

func (l *local) Leader() int { return 0 }

func (l *local) Close() (err error) {
	for i, s := range l.servers {
		err = errors.Join(err, l.clients[i].Close(), s.Close())
	}
	return err
}

func (l *local) Client(server int) Client { return l.clients[server] }

// applyTo carries out operations on a server.
func applyTo(s *raftpico.Server) func(Op) error {
	return func(op Op) error {
		kind, input := inputOfKVS(op)
		_, err := s.Apply(context.Background(), kind, input)
		return err
	}
}

// beginAt begins operations on a server.
func beginAt(s *raftpico.Server) func(Op) (end func() ([]byte, error)) {
	return func(op Op) func() ([]byte, error) {
		kind, input := inputOfKVS(op)
		p := s.Begin(context.Background(), kind, input)
		return func() ([]byte, error) { return p.Wait() }
	}
}
