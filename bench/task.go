package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// task is loads on one cluster, one after the other.
type task struct {
	System   string
	Servers  int
	InMemory bool
	Dir      string
	Programs string
	Strace   *Strace // nil: servers run without it
	Loads    []Load
}

// Result is what one load gave, on one cluster.
type Result struct {
	System   string
	Servers  int
	InMemory bool `json:",omitempty"`
	Load
	Measured

	CPU       time.Duration `json:",omitempty"` // of all servers, an operation; in process with the clients'
	ClientCPU time.Duration `json:",omitempty"` // an operation
	Allocs    float64       `json:",omitempty"` // an operation, in process: servers and clients
	Disk      float64       `json:",omitempty"` // bytes an operation, all servers
	Wire      float64       `json:",omitempty"` // bytes an operation, clients and servers
	Syncs     float64       `json:",omitempty"` // an operation, all servers
	Traced    int           `json:",omitempty"` // syncs that strace has seen
	RSS       int64         `json:",omitempty"` // bytes, all servers
}

// run carries the task out, in processes of its own.
func (t task) run(ctx context.Context) ([]Result, error) {
	s, err := find(t.System)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(t.Dir); err != nil {
		return nil, err
	}
	defer os.RemoveAll(t.Dir)
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return nil, err
	}
	if s.Local != nil {
		results, err := t.runInChild(ctx)
		return results, errors.Join(err, t.Strace.count(results))
	}
	n, err := startNodes(ctx, s, t)
	if err != nil {
		return nil, err
	}
	results, err := t.runOn(ctx, s, n)
	return results, errors.Join(err, n.stop(), t.Strace.count(results))
}

func (t task) runInChild(ctx context.Context) ([]Result, error) {
	in, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	var log said
	cmd, err := t.Strace.program(ctx, "local")
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = bytes.NewReader(in), &out, &log, orphans()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, log.tail())
	}
	var results []Result
	err = json.Unmarshal(out.Bytes(), &results)
	for i := range results {
		fmt.Fprintln(os.Stderr, results[i].line())
	}
	return results, err
}

// runOn runs the loads on nodes.
func (t task) runOn(ctx context.Context, s *System, n *nodes) ([]Result, error) {
	var results []Result
	for _, load := range t.Loads {
		clients, err := connect(ctx, s, n.addrs, load)
		if err != nil {
			return results, err
		}
		r := Result{System: t.System, Servers: t.Servers, Load: load}
		var u usage
		var wire int64
		var syncs uint64
		own := usageOf(os.Getpid())
		r.Measured, err = load.run(ctx, clients, func() {
			u, own, wire, syncs = n.usage(), usageOf(os.Getpid()), wireBytes(), countSyncs(ctx, s, n.addrs)
		}, func() {
			after, me := n.usage(), usageOf(os.Getpid())
			u = usage{after.cpu - u.cpu, after.written - u.written, after.rss}
			own.cpu = me.cpu - own.cpu
			wire, syncs = wireBytes()-wire, countSyncs(ctx, s, n.addrs)-syncs
		})
		for _, c := range clients {
			_ = c.Close()
		}
		if err != nil {
			return results, err
		}
		r.per(u, own.cpu, wire, syncs)
		fmt.Fprintln(os.Stderr, r.line())
		results = append(results, r)
	}
	return results, nil
}

func countSyncs(ctx context.Context, s *System, addrs []string) uint64 {
	if s.Syncs == nil {
		return 0
	}
	syncs, _ := s.Syncs(ctx, addrs)
	return syncs
}

// per divides by the operations.
func (r *Result) per(u usage, client time.Duration, wire int64, syncs uint64) {
	ops := float64(max(r.Operations, 1))
	r.CPU, r.ClientCPU = time.Duration(float64(u.cpu)/ops), time.Duration(float64(client)/ops)
	r.Disk, r.Wire, r.Syncs, r.RSS = float64(u.written)/ops, float64(wire)/ops, float64(syncs)/ops, u.rss
}

// connect deals connections out to servers.
func connect(ctx context.Context, s *System, addrs []string, load Load) ([]Client, error) {
	if load.Leader || load.Follower {
		leader, err := s.Leader(ctx, addrs)
		if err != nil {
			return nil, err
		}
		if load.Follower {
			leader = (leader + 1) % len(addrs)
		}
		addrs = addrs[leader : leader+1]
	}
	var clients []Client
	connections := max(load.Connections, 1)
	if s.Shared {
		connections = 1
	}
	for i := range connections {
		c, err := s.Dial(ctx, addrs[i%len(addrs)])
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// runIn runs the loads in this process.
func (t task) runIn(ctx context.Context, s *System) (results []Result, err error) {
	c, err := s.Local(ctx, LocalConfig{Servers: t.Servers, Dir: t.Dir, InMemory: t.InMemory})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, load := range t.Loads {
		var clients []Client
		for i := range t.Servers {
			switch leads := i == c.Leader(); {
			case load.Leader && leads, load.Follower && !leads && len(clients) == 0, !load.Leader && !load.Follower:
				clients = append(clients, c.Client(i))
			}
		}
		r := Result{System: t.System, Servers: t.Servers, InMemory: t.InMemory, Load: load}
		var u usage
		var m, after runtime.MemStats
		r.Measured, err = load.run(ctx, clients, func() {
			runtime.ReadMemStats(&m)
			u = usageOf(os.Getpid())
		}, func() {
			now := usageOf(os.Getpid())
			u = usage{now.cpu - u.cpu, now.written - u.written, now.rss}
			runtime.ReadMemStats(&after)
		})
		if err != nil {
			return results, err
		}
		r.per(u, 0, 0, 0)
		r.Allocs = float64(after.Mallocs-m.Mallocs) / float64(max(r.Operations, 1))
		results = append(results, r)
	}
	return results, nil
}
