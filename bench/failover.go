package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// measureFailover kills leaders under load, and tells how long it takes until a write is acknowledged that began afterwards.
func measureFailover(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench failover", flag.ContinueOnError)
	names := f.String("systems", "raftpico", "what to measure, by name: systems of processes")
	trials := f.Int("trials", 20, "how often, each time with a new cluster")
	servers := f.Int("servers", 3, "servers in a cluster")
	writers := f.Int("writers", 16, "writers, one operation at a time each, spread over the servers")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *trials < 1 || *servers < 1 || *writers < 1 {
		return errors.New("trials, servers and writers must be at least 1")
	}
	dir, err := os.MkdirTemp("", "raftpico-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s; commit %s; %s\n", machineName(), commit(ctx), time.Now().Format(time.DateTime))
	for _, name := range strings.Split(*names, ",") {
		s, err := find(name)
		if err == nil && (s.Node == nil || s.Leader == nil) {
			err = fmt.Errorf("%s has no processes to kill", name)
		}
		if err == nil && s.Prepare != nil {
			err = s.Prepare(ctx, dir)
		}
		if err != nil {
			return err
		}
		var gaps []time.Duration
		for trial := range *trials {
			gap, err := failover(ctx, s, *servers, *writers, filepath.Join(dir, fmt.Sprint(name, trial)), dir)
			if err != nil {
				return fmt.Errorf("%s, trial %d: %w", name, trial, err)
			}
			gaps = append(gaps, gap)
		}
		slices.Sort(gaps)
		fmt.Printf("%s: killed leader to next acknowledged write: median %v, %v to %v, %d trials\n", name,
			gaps[len(gaps)/2].Round(time.Millisecond), gaps[0].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond), len(gaps))
	}
	return nil
}

// failoverPatience is how long a trial may take.
const failoverPatience = 15 * time.Second

// failover is one trial.
func failover(ctx context.Context, s *System, servers, writers int, dir, programs string) (time.Duration, error) {
	n, err := startNodes(ctx, s, task{Servers: servers, Dir: dir, Programs: programs})
	if err != nil {
		return 0, err
	}
	defer func() { _ = n.stop() }()
	leader, err := s.Leader(ctx, n.addrs)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, failoverPatience)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	acked := make(chan time.Time, writers*1000) // when the acknowledged writes began
	for i := range writers {
		wg.Go(func() { writeAlways(ctx, s, n.addrs[i%servers], keyOf(i), acked) })
	}
	wait(ctx, time.Second)
	if err := n.cmds[leader].Process.Kill(); err != nil {
		return 0, err
	}
	killed := time.Now()
	for {
		select {
		case began := <-acked:
			if began.After(killed) {
				return time.Since(killed), nil
			}
		case <-ctx.Done():
			return 0, errors.New("no write was acknowledged any more")
		}
	}
}

// writeAlways writes one value after the other until ctx ends, over new connections where old ones fail.
func writeAlways(ctx context.Context, s *System, addr, key string, acked chan<- time.Time) {
	for ctx.Err() == nil {
		if c, err := s.Dial(ctx, addr); err == nil {
			writeOn(ctx, c, key, acked)
			_ = c.Close()
		}
		wait(ctx, 10*time.Millisecond)
	}
}

// writeOn does so on one connection, until that fails.
func writeOn(ctx context.Context, c Client, key string, acked chan<- time.Time) {
	for {
		began, done := time.Now(), make(chan error, 1)
		c.Go(Op{Kind: Put, Key: key, Value: []byte("0123456789abcdef")}, func(err error) { done <- err })
		if c.Flush() != nil {
			return
		}
		select {
		case err := <-done:
			if err != nil {
				return
			}
			select {
			case acked <- began:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
