package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets tasks find the servers in the test's own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "node" || os.Args[1] == "local") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEverySystemAnswersThroughEveryServerAndEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	const servers = 3
	programs := t.TempDir()
	for _, s := range systems {
		t.Run(s.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			if s.Prepare != nil {
				require.NoError(t, s.Prepare(ctx, programs))
			}
			if s.Local != nil {
				c, err := s.Local(ctx, LocalConfig{Servers: servers, Dir: t.TempDir()})
				require.NoError(t, err)
				defer func() { require.NoError(t, c.Close()) }()
				require.Contains(t, []int{0, 1, 2}, c.Leader())
				var clients []Client
				for i := range servers {
					clients = append(clients, c.Client(i))
				}
				exercise(ctx, t, s, clients)
				return
			}
			n, err := startNodes(ctx, s, task{Servers: servers, Dir: t.TempDir(), Programs: programs})
			require.NoError(t, err)
			defer func() {
				require.NoError(t, n.stop())
				for _, cmd := range n.cmds {
					require.ErrorIs(t, syscall.Kill(cmd.Process.Pid, 0), syscall.ESRCH)
				}
			}()
			if s.Leader != nil {
				leader, err := s.Leader(ctx, n.addrs)
				require.NoError(t, err)
				require.Contains(t, []int{0, 1, 2}, leader)
			}
			var clients []Client
			for _, addr := range n.addrs {
				c, err := s.Dial(ctx, addr)
				require.NoError(t, err)
				defer c.Close()
				clients = append(clients, c)
			}
			exercise(ctx, t, s, clients)
		})
	}
}

// exercise puts through each client and gets through all.
func exercise(ctx context.Context, t *testing.T, s *System, clients []Client) {
	for i, to := range clients {
		key, value := keyOf(i), fmt.Sprint("value-", i)
		if s.has(Put) {
			_, _, err := ask(ctx, to, Op{Kind: Put, Key: key, Value: []byte(value)})
			require.NoError(t, err)
		}
		for _, from := range clients {
			if s.has(Get) {
				got, told, err := ask(ctx, from, Op{Kind: Get, Key: key})
				require.NoError(t, err)
				if told {
					require.Equal(t, value, string(got))
				}
			}
			if s.has(LocalGet) {
				require.NoError(t, retry(ctx, func() error { // it may be stale
					got, told, err := ask(ctx, from, Op{Kind: LocalGet, Key: key})
					if err == nil && told && string(got) != value {
						err = fmt.Errorf("%s: got %q, want %q", key, got, value)
					}
					return err
				}))
			}
		}
	}
}

// ask carries an operation out. Not every Client tells what a get has found.
func ask(ctx context.Context, c Client, op Op) (value []byte, told bool, err error) {
	switch c := c.(type) {
	case *pipeline:
		value, err = c.begin(op)()
		return value, true, err
	case *etcdClient:
		value, err = c.answer(ctx, op)
		return value, true, err
	}
	done := make(chan error, 1)
	c.Go(op, func(err error) { done <- err })
	if err := c.Flush(); err != nil {
		return nil, false, err
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, false, err
}

func TestPipelineTellsEachOperationItsOwnEnd(t *testing.T) {
	failure := errors.New("no value")
	p := newPipeline(func(op Op) func() ([]byte, error) {
		return func() ([]byte, error) {
			if len(op.Value) == 0 {
				return nil, failure
			}
			return nil, nil
		}
	})
	defer p.Close()
	const steps = 100_000 // as deep a recursion as it would be if done were called in Go
	end := make(chan error, 1)
	var next func(step int) func(error)
	next = func(step int) func(error) {
		return func(err error) {
			switch {
			case err != nil:
				end <- err
			case step == steps:
				p.Go(Op{}, func(err error) { end <- err })
			default:
				p.Go(Op{Value: []byte("v")}, next(step+1))
			}
		}
	}
	next(0)(nil)
	require.ErrorIs(t, <-end, failure)
}

func TestAboutNamesTheVersionsThatAreBuiltIn(t *testing.T) {
	b, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	for module, version := range map[string]string{
		"github.com/hashicorp/raft":     hashicorpVersion,
		"github.com/hashicorp/raft-wal": raftWALVersion,
		"github.com/lni/dragonboat/v4":  dragonboatVersion,
		"go.etcd.io/etcd/server/v3":     etcdVersion,
		"go.etcd.io/etcd/client/v3":     etcdVersion,
	} {
		require.True(t, strings.Contains(string(b), "\t"+module+" "+version+"\n"), "%s %s is not in go.mod", module, version)
	}
}
