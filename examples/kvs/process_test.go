//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico"
)

// The clients of these tests, and how many acknowledged writes they see between one fault and the next.
const (
	clients = 48
	some    = 1000
)

func TestKillOfAnyServerLosesNoAcknowledgedWrite(t *testing.T) {
	c := startCluster(t)
	l := startLoad(t, c.addrs(), clients)
	crash := func(victim *server, what string) {
		l.await(some)
		killed := time.Now()
		victim.kill(t)
		t.Logf("kill -9 of %s: the next write was acknowledged after %v", what, l.await(some).Sub(killed).Round(time.Millisecond))
		victim.start(t)
		c.rejoined(t, victim)
	}
	for i, s := range c {
		crash(s, fmt.Sprintf("server %d", i))
	}
	leader, _ := c.leader(t)
	crash(leader, "the leader")
	_, followers := c.leader(t)
	crash(followers[0], "a follower")
	l.check(c)
}

func TestKillOfAllServersLosesNoAcknowledgedWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	c := startCluster(t)
	l := startLoad(t, c.addrs(), clients)
	for range 3 {
		l.await(some)
		for _, s := range c {
			s.signal(t, os.Kill) // all at once: waited for below
		}
		for _, s := range c {
			s.wait(t)
		}
		began := time.Now()
		for _, s := range c {
			s.start(t)
		}
		t.Logf("start of all: the first write was acknowledged after %v", l.await(some).Sub(began).Round(time.Millisecond))
	}
	l.check(c)
}

func TestStoppedLeaderRejoinsAndAnswersNothingStale(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; runs without -short")
	}
	c := startCluster(t)
	l := startLoad(t, c.addrs(), clients)
	l.await(some)
	leader, _ := c.leader(t)
	stopped := time.Now()
	leader.signal(t, syscall.SIGSTOP)
	pause := time.After(2 * time.Second)
	t.Logf("SIGSTOP of the leader: the next write was acknowledged after %v", l.await(some).Sub(stopped).Round(time.Millisecond))

	// These queries wait in the sockets of the server that still takes itself for the leader.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	answers := make([]atomic.Int64, len(l.writers))
	for i, w := range l.writers {
		wg.Go(func() { w.query(ctx, leader.addr, &answers[i]) })
	}
	<-pause
	leader.signal(t, syscall.SIGCONT)
	c.rejoined(t, leader)
	l.await(3 * some)
	require.Eventually(t, func() bool { // it has to catch up first
		for i := range answers {
			if answers[i].Load() == 0 {
				return false
			}
		}
		return true
	}, 20*time.Second, 10*time.Millisecond, "queries of the server that was stopped are not answered")
	cancel()
	wg.Wait()
	l.check(c)
}

// query asks a server for the writer's value until ctx ends, and counts the answers. None may be stale.
func (w *writer) query(ctx context.Context, addr string, answers *atomic.Int64) {
	t := w.load.t
	client, err := jsonrpc.Dial(ctx, addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	for {
		known, value := w.ask(), 0
		err := client.Call(ctx, "Apply", map[string]any{"kind": "Query", "input": map[string]string{"Get": w.key}}, &value)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, raftpico.ErrRejected), errors.Is(err, raftpico.ErrNoLeader):
		case err != nil:
			t.Errorf("query: %v", err)
			return
		case known.stale(value):
			t.Errorf("a query for %s answered %d, and %d was acknowledged before it was asked", w.key, value, known.floor)
			return
		default:
			answers.Add(1)
		}
	}
}

// A clean stop answers all that it has read, so a request that goes down with its connection was never carried out. (It
// is the client that can't know.)
func TestRollingRestartLosesNoWrite(t *testing.T) {
	c := startCluster(t)
	l := startLoad(t, c.addrs(), clients)
	for _, s := range c {
		l.await(some)
		leader, _ := c.leader(t)
		began := time.Now()
		require.Zero(t, s.stop(t), "exit status after SIGTERM")
		t.Logf("SIGTERM: leader %v, stopped after %v", s == leader, time.Since(began).Round(time.Millisecond))
		l.await(some)
		s.start(t)
		c.rejoined(t, s)
	}
	came := l.check(c)
	require.Zero(t, l.fates[unknown], "writes answered 107")
	require.Zero(t, came[lost], "writes that were applied, and not answered before the connection was closed")
}

func TestTornLineIsCut(t *testing.T) {
	c := startCluster(t)
	l := startLoad(t, c.addrs(), clients)
	l.await(some)
	_, followers := c.leader(t)
	victim := followers[0]
	victim.kill(t)
	lines := victim.lines(t)
	torn := lines[len(lines)-1]
	torn = torn[:len(torn)/2]
	file, err := os.OpenFile(victim.file, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = file.WriteString(torn)
	require.NoError(t, errors.Join(err, file.Close()))
	status, _, said := runToEnd(t, "raftpico", "log", "-q", victim.file)
	require.Zero(t, status, said)
	require.Contains(t, said, fmt.Sprintf("would cut the last %d bytes", len(torn)))

	victim.start(t)
	require.Contains(t, victim.stderr(), fmt.Sprintf("bytes=%d", len(torn)))
	require.Contains(t, victim.stderr(), "WARN the log ended in the middle of a line")
	c.rejoined(t, victim)
	l.check(c)
}

func TestDamagedFileIsRefused(t *testing.T) {
	c := startCluster(t)
	l := startLoad(t, c.addrs(), clients)
	l.await(some)
	_, followers := c.leader(t)
	victim := followers[0]
	victim.kill(t)
	lines := victim.lines(t)
	number := len(lines) / 2 // counts from 1
	offset := len(strings.Join(lines[:number-1], ""))
	text := []byte(strings.Join(lines, ""))
	text[offset+len(lines[number-1])/2] ^= 1
	require.NoError(t, os.WriteFile(victim.file, text, 0o600))

	status, _, said := runToEnd(t, "kvs", victim.addr, victim.file)
	require.Equal(t, 1, status)
	for _, part := range []string{victim.file, fmt.Sprintf("line %d ", number), fmt.Sprintf("byte %d)", offset), "is damaged", "delete the file, and add the server again"} {
		require.Contains(t, said, part)
	}
	require.NotContains(t, said, "goroutine", "a message, not a panic")
	after, err := os.ReadFile(victim.file)
	require.NoError(t, err)
	require.Equal(t, text, after, "a damaged file is left as it is")
	status, _, said = runToEnd(t, "raftpico", "log", "-q", victim.file)
	require.Equal(t, 1, status)
	require.Contains(t, said, fmt.Sprintf("line %d ", number))
	l.await(some) // the other two go on
}

// lines returns the complete lines of a killed server's file, with their newlines. If kill -9 has torn one, it is cut off.
func (s *server) lines(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(s.file)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	last := len(lines) - 1
	require.NoError(t, os.Truncate(s.file, int64(len(text)-len(lines[last]))))
	return lines[:last]
}
