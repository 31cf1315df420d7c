package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// taken are the ports given out, so that none is given twice.
var taken sync.Map

// freeAddr returns an address on which nobody listens: below the ports that the system gives to clients.
func freeAddr() string {
	for port := 20000 + os.Getpid()%4000; ; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if _, given := taken.LoadOrStore(addr, true); given {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

// nodes are the processes of a cluster.
type nodes struct {
	addrs []string
	cmds  []*exec.Cmd
	log   said // what they say, for when something fails
}

// startNodes starts a cluster and waits until it takes operations.
func startNodes(ctx context.Context, s *System, t task) (*nodes, error) {
	n := &nodes{}
	var peers []string
	for range t.Servers {
		n.addrs, peers = append(n.addrs, freeAddr()), append(peers, freeAddr())
	}
	for id := 1; id <= t.Servers; id++ {
		own := filepath.Join(t.Dir, fmt.Sprint("node-", id))
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, err
		}
		config, err := json.Marshal(NodeConfig{ID: id, Addrs: n.addrs, Peers: peers, Dir: own, Programs: t.Programs})
		if err != nil {
			return nil, err
		}
		cmd, err := t.Strace.program(context.WithoutCancel(ctx), "node", s.Name, string(config))
		if err != nil {
			return nil, errors.Join(err, n.stop())
		}
		cmd.Stdout, cmd.Stderr = &n.log, &n.log
		cmd.SysProcAttr = orphans() // they end with this process
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(err, n.stop())
		}
		n.cmds = append(n.cmds, cmd)
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for _, addr := range n.addrs {
		if err := retry(ctx, func() error { return listens(addr) }); err != nil {
			return nil, errors.Join(err, n.stop(), errors.New(n.log.tail()))
		}
	}
	var err error
	if s.Form != nil {
		err = s.Form(ctx, n.addrs)
	}
	if err == nil {
		err = retry(ctx, func() error { return try(ctx, s, n.addrs) })
	}
	if err != nil {
		return nil, errors.Join(err, n.stop(), errors.New(n.log.tail()))
	}
	return n, nil
}

// said keeps what processes say.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// tail is the end of it.
func (s *said) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.buf.Bytes()[max(0, s.buf.Len()-2000):])
}

func listens(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		err = c.Close()
	}
	return err
}

// try carries out each kind of operation on each node.
func try(ctx context.Context, s *System, addrs []string) error {
	for _, addr := range addrs {
		c, err := s.Dial(ctx, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		for _, kind := range s.Kinds {
			done := make(chan error, 1)
			c.Go(Op{Kind: kind, Key: keyOf(0), Value: []byte("0")}, func(err error) { done <- err })
			if err := c.Flush(); err != nil {
				return err
			}
			select {
			case err = <-done:
			case <-time.After(5 * time.Second):
				err = fmt.Errorf("%s: no answer", kind)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func retry(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// stop ends the processes.
func (n *nodes) stop() error {
	for _, cmd := range n.cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range n.cmds {
		end := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		end.Stop()
	}
	return nil
}

// usage is what processes have used.
type usage struct {
	cpu     time.Duration
	written int64 // bytes that reached the disk
	rss     int64 // bytes, now
}

func (n *nodes) usage() (u usage) {
	for _, cmd := range n.cmds {
		p := usageOf(cmd.Process.Pid)
		u.cpu, u.written, u.rss = u.cpu+p.cpu, u.written+p.written, u.rss+p.rss
	}
	return u
}

// usageOf reads /proc; where there is none, it is zero.
func usageOf(pid int) (u usage) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if b, err := os.ReadFile(dir + "stat"); err == nil {
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, i := range []int{11, 12} { // utime, stime in hundredths of a second
			ticks, _ := strconv.ParseInt(fields[i], 10, 64)
			u.cpu += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	u.written = figure(dir+"io", "write_bytes:")
	u.rss = figure(dir+"status", "VmRSS:") * 1024
	return u
}

func figure(file, name string) int64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			v, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return v
		}
	}
	return 0
}

// wireBytes counts what has gone over the loopback so far.
func wireBytes() int64 { return figure("/proc/net/dev", "    lo:") }

// runNode is the child process of startNodes.
func runNode(ctx context.Context, name, config string) error {
	s, err := find(name)
	if err != nil {
		return err
	}
	var n NodeConfig
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	return s.Node(ctx, n)
}

// runLocal is the child process in which a local system and its loads run: it reads the task and writes the results.
func runLocal(ctx context.Context, in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return err
	}
	s, err := find(t.System)
	if err != nil {
		return err
	}
	results, err := t.runIn(ctx, s)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(results)
}
