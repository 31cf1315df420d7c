package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// groupsConfig is what one of the processes of measureGroups is told: a server of each group.
type groupsConfig struct {
	Dir   string
	Addrs []string // of its servers, one of each group
}

// groupsLoad is what they are measured with.
type groupsLoad struct {
	servers, window, keys int
	time, idle            time.Duration
}

// groupsFound is what one round found. CPU of an operation is that of all processes; of an idle second it is one
// process's share of a core.
type groupsFound struct {
	putRate, getRate float64
	putCPU, getCPU   time.Duration
	putP99           time.Duration
	idle             float64
	rss              int64 // of all processes
}

// measureGroups measures many clusters in the same processes: each its own machine, log file, port and leader, the
// leaders dealt out to the processes. The same number of operations is under way in all, whatever the number of groups.
func measureGroups(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench groups", flag.ContinueOnError)
	counts := f.String("groups", "1,10,100", "clusters in the processes")
	rounds := f.Int("rounds", 3, "how often each is measured")
	l := groupsLoad{}
	f.IntVar(&l.servers, "servers", 3, "servers in a cluster, each in another process")
	f.IntVar(&l.window, "window", 1000, "operations under way, over all clusters")
	f.IntVar(&l.keys, "keys", 17576, "different keys")
	f.DurationVar(&l.time, "time", 2*time.Second, "how long each load is measured")
	f.DurationVar(&l.idle, "idle", 4*time.Second, "how long the idle clusters are measured")
	if err := f.Parse(args); err != nil {
		return err
	}
	fmt.Printf("%s; commit %s; %s\n", machineName(), commit(ctx), time.Now().Format(time.DateTime))
	found := map[int][]groupsFound{}
	var sizes []int
	for _, text := range strings.Split(*counts, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			return fmt.Errorf("%q is no number of groups", text)
		}
		sizes = append(sizes, count)
	}
	for range *rounds {
		for _, count := range sizes {
			one, err := l.round(ctx, count)
			if err != nil {
				return fmt.Errorf("%d groups: %w", count, err)
			}
			found[count] = append(found[count], one)
		}
	}
	for _, count := range sizes {
		mid := func(of func(groupsFound) float64) float64 {
			var all []float64
			for _, one := range found[count] {
				all = append(all, of(one))
			}
			slices.Sort(all)
			return all[len(all)/2]
		}
		us := func(of func(groupsFound) time.Duration) float64 {
			return mid(func(g groupsFound) float64 { return float64(of(g)) / 1e3 })
		}
		fmt.Printf("%d groups: put %.0f/s, %.1f µs, p99 %.1f ms; get %.0f/s, %.1f µs; idle %.2f%% of a core a process; %.0f MB in all\n", count,
			mid(func(g groupsFound) float64 { return g.putRate }), us(func(g groupsFound) time.Duration { return g.putCPU }),
			us(func(g groupsFound) time.Duration { return g.putP99 })/1e3,
			mid(func(g groupsFound) float64 { return g.getRate }), us(func(g groupsFound) time.Duration { return g.getCPU }),
			mid(func(g groupsFound) float64 { return 100 * g.idle }), mid(func(g groupsFound) float64 { return float64(g.rss) / 1e6 }))
	}
	return nil
}

func (l *groupsLoad) round(ctx context.Context, count int) (found groupsFound, err error) {
	dir, err := os.MkdirTemp("", "raftpico-bench-")
	if err != nil {
		return found, err
	}
	defer os.RemoveAll(dir)
	n := &nodes{}
	defer func() { err = errors.Join(err, n.stop()) }()
	addrs := make([][]string, l.servers) // of each process
	for p := range addrs {
		for range count {
			addrs[p] = append(addrs[p], freeAddr())
		}
		own := filepath.Join(dir, strconv.Itoa(p))
		if err := os.MkdirAll(own, 0o700); err != nil {
			return found, err
		}
		config, err := json.Marshal(groupsConfig{own, addrs[p]})
		if err != nil {
			return found, err
		}
		cmd, err := (*Strace)(nil).program(context.WithoutCancel(ctx), "groups-process", string(config))
		if err != nil {
			return found, err
		}
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &n.log, &n.log, orphans()
		if err := cmd.Start(); err != nil {
			return found, err
		}
		n.cmds = append(n.cmds, cmd)
	}
	var clients []Client
	for g := range count {
		leader := addrs[g%l.servers][g]
		if err := formGroup(ctx, leader, g, addrs); err != nil {
			return found, fmt.Errorf("group %d: %w: %s", g, err, n.log.tail())
		}
		c, err := dialLines(ctx, leader, encodeKVS)
		if err != nil {
			return found, err
		}
		defer c.Close()
		clients = append(clients, c)
	}
	wait(ctx, 2*time.Second)
	before := n.usage()
	wait(ctx, l.idle)
	found.idle = (n.usage().cpu - before.cpu).Seconds() / l.idle.Seconds() / float64(l.servers)
	for _, kind := range []Kind{Put, Get} {
		load := Load{Kind: kind, Window: l.window, ValueSize: 16, Keys: l.keys, Warm: l.time / 2, Time: l.time}
		var u usage
		m, err := load.run(ctx, clients, func() { u = n.usage() }, func() { u.cpu = n.usage().cpu - u.cpu })
		if err != nil {
			return found, err
		}
		if m.Failed > 0 {
			return found, fmt.Errorf("%d operations failed: %s", m.Failed, m.Error)
		}
		cpu := u.cpu / time.Duration(max(m.Operations, 1))
		if kind == Put {
			found.putRate, found.putCPU, found.putP99 = m.Rate(), cpu, m.P99
		} else {
			found.getRate, found.getCPU = m.Rate(), cpu
		}
	}
	found.rss = n.usage().rss
	return found, nil
}

// formGroup makes a cluster of the servers of a group, once they listen.
func formGroup(ctx context.Context, first string, group int, addrs [][]string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, own := range addrs {
		if err := retry(ctx, func() error { return listens(own[group]) }); err != nil {
			return err
		}
	}
	c, err := jsonrpc.Dial(ctx, first)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Call(ctx, "CreateCluster", nil, nil)
	for _, own := range addrs {
		if own[group] != first {
			err = errors.Join(err, c.Call(ctx, "AddServer", map[string]string{"addr": own[group]}, nil))
		}
	}
	return err
}

// runGroups is one of the processes: a server of each group.
func runGroups(ctx context.Context, config string) error {
	var c groupsConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	for g, addr := range c.Addrs {
		s, err := raftpico.Start(machine.JSON(&store{}), raftpico.Options{Addr: addr, Logger: quiet, File: filepath.Join(c.Dir, strconv.Itoa(g)+".jsonl")})
		if err != nil {
			return err
		}
		defer s.Close()
	}
	<-ctx.Done()
	return nil
}
