// Command bench measures raftpico beside other replicated stores, on one machine and in one run: three servers each, every
// write synced, the same keys, values and numbers of requests under way.
//
//	cd bench && go run . -out results
//
// A system's rounds are interleaved with the others', and the tables show medians and the spread. Charts are drawn beside
// them; those of several runs together are drawn by
//
//	go run . draw results/report.json other/report.json charts
//
// How long a cluster takes no writes when its leader is killed is measured by
//
//	go run . failover
//
// What it costs to run many clusters in the same processes is measured by
//
//	go run . groups
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "node":
		err = runNode(ctx, args[1], args[2])
	case len(args) == 1 && args[0] == "local":
		err = runLocal(ctx, os.Stdin, os.Stdout)
	case len(args) > 0 && args[0] == "draw":
		err = drawReports(args[1:])
	case len(args) > 0 && args[0] == "failover":
		err = measureFailover(ctx, args[1:])
	case len(args) > 0 && args[0] == "groups":
		err = measureGroups(ctx, args[1:])
	case len(args) == 2 && args[0] == "groups-process":
		err = runGroups(ctx, args[1])
	default:
		err = measure(ctx, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Report is all that a run found.
type Report struct {
	Machine string
	Commit  string
	Began   time.Time
	Flags   []string
	About   map[string]string // of each system
	Floors  []Floor
	Results []Result
}

func measure(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	names := f.String("systems", "raftpico,raftpico-local,echo,hashicorp,dragonboat,etcd", "what to measure, by name")
	kinds := f.String("kinds", "put,get,localget", "operations")
	windows := f.String("window", "1,10,100,1000", "operations under way")
	rate := f.Float64("rate", 0, "operations a second that begin at random times, -window of them under way at most; 0: as many as are answered")
	puts := f.Float64("puts", 0, "the share of operations that are Puts instead: 0.1 is nine reads to each write")
	values := f.String("value", "16", "sizes of values, in bytes")
	servers := f.String("servers", "3", "servers in a cluster")
	connections := f.String("connections", "0", "connections; 0: one to each server")
	keys := f.Int("keys", 17576, "different keys")
	rounds := f.Int("rounds", 3, "how often each is measured")
	repeat := f.Int("repeat", 1, "how often a load is measured in a row, on one cluster: with -time 1m, an hour's minutes are 60")
	length := f.Duration("time", 3*time.Second, "how long each load is measured")
	at := f.String("at", "all", "whom clients ask: all servers, leader, follower")
	traced := f.Bool("strace", false, "run servers under strace, which counts every system's syncs")
	delay := f.Duration("sync-delay", 0, "what each sync takes longer, through strace: a slower disk")
	inMemory := f.Bool("in-memory", false, "without a disk, where a system in process can")
	dir := f.String("dir", "", "where servers keep their files (default: a new folder in the temporary one)")
	out := f.String("out", "", "folder for report.json, the tables and the charts")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		d, err := os.MkdirTemp("", "raftpico-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(d)
		*dir = d
	}
	p := plan{keys: *keys, repeat: *repeat, rate: *rate, puts: *puts, time: *length, at: *at, inMemory: *inMemory, dir: *dir}
	if *traced || *delay > 0 {
		p.strace = &Strace{Delay: *delay, Dir: filepath.Join(*dir, "strace")}
	}
	var err error
	for _, name := range strings.Split(*names, ",") {
		s, unknown := find(name)
		err = errors.Join(err, unknown)
		p.systems = append(p.systems, s)
	}
	for _, kind := range strings.Split(*kinds, ",") {
		p.kinds = append(p.kinds, Kind(kind))
	}
	for _, list := range []struct {
		text string
		to   *[]int
	}{{*windows, &p.windows}, {*values, &p.values}, {*servers, &p.servers}, {*connections, &p.connections}} {
		for _, item := range strings.Split(list.text, ",") {
			v, bad := strconv.Atoi(item)
			err = errors.Join(err, bad)
			*list.to = append(*list.to, v)
		}
	}
	if err != nil {
		return err
	}
	r := Report{Machine: machineName(), Commit: commit(ctx), Began: time.Now(), Flags: args, About: map[string]string{}}
	for _, s := range p.systems {
		r.About[s.Name] = s.About
		if s.Prepare != nil {
			if err := s.Prepare(ctx, *dir); err != nil {
				return err
			}
		}
	}
	for round := range *rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, *rounds)
		err = p.round(ctx, &r)
		if err != nil || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(err, r.write(*out))
}

// plan is what is measured.
type plan struct {
	systems                               []*System
	kinds                                 []Kind
	windows, values, servers, connections []int
	keys, repeat                          int
	rate, puts                            float64
	time                                  time.Duration
	at                                    string
	inMemory                              bool
	dir                                   string
	strace                                *Strace // nil: servers run without it
}

// round measures everything once.
func (p *plan) round(ctx context.Context, r *Report) error {
	for _, size := range p.values {
		for _, writers := range []int{1, 3} {
			floor, err := measureFloor(p.dir, writers, size, time.Second)
			if err != nil {
				return err
			}
			r.Floors = append(r.Floors, floor)
		}
	}
	for _, servers := range p.servers {
		for _, s := range p.systems {
			t := task{System: s.Name, Servers: servers, InMemory: p.inMemory, Dir: filepath.Join(p.dir, "run"), Programs: p.dir, Strace: p.strace, Loads: p.loads(s, servers)}
			if len(t.Loads) == 0 {
				continue
			}
			results, err := t.run(ctx)
			r.Results = append(r.Results, results...)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil { // the others are measured all the same
				fmt.Fprintf(os.Stderr, "%s with %d servers: %v\n", s.Name, servers, err)
			}
		}
	}
	return nil
}

func (p *plan) loads(s *System, servers int) (loads []Load) {
	for _, kind := range p.kinds {
		if !s.has(kind) {
			continue
		}
		for _, size := range p.values {
			for _, connections := range p.connections {
				if connections == 0 {
					connections = servers
				}
				for _, window := range p.windows {
					load := Load{Kind: kind, Window: window, Arrivals: p.rate, Puts: p.puts, ValueSize: size, Connections: connections, Keys: p.keys,
						Leader: p.at == "leader", Follower: p.at == "follower", Warm: time.Second, Time: p.time}
					loads = append(loads, slices.Repeat([]Load{load}, p.repeat)...)
				}
			}
		}
	}
	return loads
}

func machineName() string {
	name := fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if model, ok := strings.CutPrefix(line, "model name\t: "); ok {
				return strings.TrimSpace(model) + ", " + name
			}
		}
	}
	return name
}

func commit(ctx context.Context) string {
	b, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
