package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
)

// demoAddrs are where the servers of the demo listen.
var demoAddrs = []string{"127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"}

const whatNext = `
Three servers are a cluster now: %s, %s, %s. Their logs are in %s.
In another terminal:

  go run ./cmd/raftpico req Apply --params '{"kind":"Command","input":{"Put":["foo",123]}}' | go run ./cmd/raftpico call :4000
  go run ./cmd/raftpico req Apply --params '{"kind":"Query","input":{"Get":"foo"}}' | go run ./cmd/raftpico call :4001
  go run ./cmd/raftpico status :4000 :4001 :4002
  go run ./cmd/raftpico log %s

Ctrl-C stops them; the next start finds the data again.
`

// demo runs a whole cluster in this process until ctx ends or a server fails. Its data is found again.
func demo(ctx context.Context, dir string) (err error) {
	slog.SetLogLoggerLevel(slog.LevelWarn) // three servers' everyday talk would bury what is printed here
	var servers []*raftpico.Server
	defer func() { err = errors.Join(err, closeAll(servers)) }()
	var files []string
	for i, addr := range demoAddrs {
		files = append(files, filepath.Join(dir, fmt.Sprintf("server-%d.jsonl", i)))
		s, err := raftpico.Start(machine.JSON(&kvs{}), raftpico.Options{Addr: addr, File: files[i]})
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	if err := form(ctx, servers); err != nil {
		return err
	}
	fmt.Printf(whatNext, demoAddrs[0], demoAddrs[1], demoAddrs[2], dir, files[0])
	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.Wait() }() // ends with the server
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// form makes a cluster of the servers, as far as they are none yet: a start may have been broken off anywhere.
func form(ctx context.Context, servers []*raftpico.Server) error {
	first := servers[0]
	if _, err := first.CreateCluster(ctx, raftpico.Timeouts{}); err != nil && !errors.Is(err, raftpico.ErrClusterExists) {
		return err
	}
	for _, s := range servers[1:] {
		if _, err := first.AddServer(ctx, s.Addr()); err != nil && !errors.Is(err, raftpico.ErrServerExists) {
			return fmt.Errorf("add %s: %w", s.Addr(), err)
		}
	}
	return nil
}

// closeAll closes the servers at once: one after the other, each would wait for a quorum that is going.
func closeAll(servers []*raftpico.Server) error {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { errs[i] = s.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
