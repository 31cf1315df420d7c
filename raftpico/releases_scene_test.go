package raftpico_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/memnet"
)

// locks1 and locks2 are two builds of the locks. The second one only has a higher version.
type (
	locks1 struct{ locks }
	locks2 struct{ locks }
)

func (*locks1) Version() int { return 1 }
func (*locks2) Version() int { return 2 }

func newBuiltLocks(build int) machine.Machine {
	empty := locks{Held: map[string]*lock{}, Queue: map[string][]claim{}}
	if build == 1 {
		return machine.JSON(&locks1{empty})
	}
	return machine.JSON(&locks2{empty})
}

// scene is a few servers whose lives leave behind every kind of record, entry and message. What is kept of them goes into a
// folder of testdata/releases, and is read for ever (releases_test.go).
type scene struct {
	t       *testing.T
	dir     string // of the servers' files
	network memnet.Network
	build   int
	found   []string      // addresses of the servers that create the cluster
	dead    time.Duration // Options.RemoveDead
	talks   talks
	servers map[string]*raftpico.Server
}

// start starts the server with a name, perhaps again and at another address.
func (s *scene) start(name, addr string) *raftpico.Server {
	s.t.Helper()
	listener, err := s.network.Listen(addr)
	require.NoError(s.t, err)
	server, err := raftpico.Start(newBuiltLocks(s.build), raftpico.Options{Addr: addr, File: s.file(name), Listener: listener,
		Dial: s.talks.record(addr, s.network.Dialer(addr)), Join: s.found, Bootstrap: len(s.found), Timeouts: raftpico.Timeouts{Min: 400 * time.Millisecond, Max: 800 * time.Millisecond}, RemoveDead: s.dead, CheckState: -1, Logger: quiet})
	require.NoError(s.t, err)
	s.servers[name] = server
	s.t.Cleanup(func() { _ = server.Close() })
	return server
}

func (s *scene) file(name string) string { return filepath.Join(s.dir, name+".jsonl") }

func (s *scene) stop(name string) {
	s.t.Helper()
	require.NoError(s.t, s.servers[name].Close())
}

// do carries out a command on the server with a name. It is tried again when it certainly was not applied.
func (s *scene) do(name string, input any) {
	s.t.Helper()
	s.try(func() error {
		_, err := s.servers[name].Apply(s.t.Context(), machine.Command, input)
		return err
	})
}

func (s *scene) try(f func() error) {
	s.t.Helper()
	var err error
	require.Eventually(s.t, func() bool { err = f(); return err == nil }, time.Minute, 20*time.Millisecond, "%v", &err)
}

// level waits until the servers have applied all of the log that the first one has.
func (s *scene) level(names ...string) {
	s.t.Helper()
	waitFor(s.t, func() bool {
		var last uint64
		for i, name := range names {
			state, err := s.servers[name].State(s.t.Context(), false)
			if err != nil {
				return false
			}
			if i == 0 {
				last = state.LastIndex
			}
			if state.AppliedIndex != last || state.LastIndex != last || state.CommitIndex != last {
				return false
			}
		}
		return true
	})
}

func lockInputFor(name string, ms int) map[string]any {
	return map[string]any{"Lock": map[string]any{"Name": name, "For": ms}}
}

// play lets it all happen, and writes what is kept into a folder.
func play(t *testing.T, to string) {
	s := &scene{t: t, dir: t.TempDir(), build: 1, dead: time.Second, servers: map[string]*raftpico.Server{}}
	ctx := t.Context()
	s.found = []string{"a:1", "b:1", "c:1"}
	for _, name := range []string{"a", "b", "c"} {
		s.start(name, name+":1")
	}
	a := s.servers["a"]
	waitFor(t, func() bool { return voters(t, a) == 3 })
	s.found = nil
	for _, name := range []string{"d", "e"} {
		s.start(name, name+":1")
	}
	s.try(func() error { _, err := a.AddServer(ctx, "e:1"); return err })
	s.try(func() error { _, err := a.AddNonvoter(ctx, "d:1"); return err })
	for _, server := range s.servers {
		waitFor(t, func() bool { return voters(t, server) == 4 })
	}
	s.try(func() error { _, err := a.RemoveServer(ctx, "e:1"); return err })
	s.stop("e")

	s.do("a", map[string]any{"Add": 3})
	s.do("b", lockInputFor("brief", 50)) // a Timer entry
	var ids [2]uint64
	for i := range ids {
		s.try(func() (err error) { ids[i], err = a.OpenSession(ctx, time.Hour); return err })
	}
	s.try(func() error {
		_, err := a.ApplyOnce(ctx, raftpico.Session{ID: ids[0], Seq: 1}, map[string]any{"Add": 4})
		return err
	})
	s.try(func() error {
		_, err := a.ApplyOnce(ctx, raftpico.Session{ID: ids[0], Seq: 2, Ack: 1}, lockInputFor("held", 1e9))
		return err
	})
	s.try(func() error { return a.KeepSession(ctx, ids[0]) })
	s.try(func() error { return a.CloseSession(ctx, ids[1]) })
	gone, cancel := context.WithCancel(ctx) // an Abandon entry
	waiting := make(chan struct{})
	go func() { // ends when it is cancelled
		defer close(waiting)
		_, _ = a.Apply(gone, machine.Command, lockInputFor("held", 1e9))
	}()
	waitFor(t, func() bool { return inLine(t, a, "held") == 1 })
	cancel()
	<-waiting
	waitFor(t, func() bool { return inLine(t, a, "held") == 0 })
	s.try(func() error { _, err := a.SetVoter(ctx, "c:1", false); return err })
	s.try(func() error { _, err := a.SetVoter(ctx, "c:1", true); return err })
	s.try(func() error { return a.Configure(ctx, raftpico.Configuration{LeaseReads: true}) })
	waitFor(t, func() bool { return voters(t, a) == 3 })
	s.try(func() error { _, err := a.CheckState(ctx); return err })

	s.stop("d") // it is removed when it is dead: RemoveServer with an id
	waitFor(t, func() bool { state, err := a.State(ctx, false); return err == nil && state.RemovedDead == 1 })
	s.build = 2 // a SetVersion entry
	for _, name := range []string{"a", "b", "c"} {
		s.stop(name)
		s.start(name, name+":1")
		require.NoError(t, s.servers[name].Ready(ctx))
	}
	s.stop("b") // a MoveServer entry
	s.start("b", "b:2")
	a = s.servers["a"]
	waitFor(t, func() bool {
		state, err := a.State(ctx, false)
		moved := false
		for _, m := range state.Members {
			moved = moved || m.Addr == "b:2"
		}
		return err == nil && moved && state.ActiveVersion == 2
	})
	s.do("a", map[string]any{"Add": 5})
	s.level("a", "b", "c")
	keep(t, s.file("a"), filepath.Join(to, "log.jsonl"))

	s.try(func() error { _, err := a.TakeSnapshot(ctx); return err })
	s.do("a", map[string]any{"Add": 6})
	s.level("a", "b", "c")
	keep(t, s.file("b"), filepath.Join(to, "snapshot.jsonl"))
	var backup bytes.Buffer
	s.try(func() error { backup.Reset(); _, err := a.Backup(ctx, &backup); return err })
	require.NoError(t, os.WriteFile(filepath.Join(to, "backup.jsonl"), backup.Bytes(), 0o644))

	// A snapshot of several pieces: it travels to a server that was away for long, and is written there.
	s.stop("c")
	long := strings.Repeat("long", 25)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 200 {
				_, err := a.Apply(ctx, machine.Command, lockInputFor(fmt.Sprint(long, i, "-", j), 1e9))
				if err != nil && !errors.Is(err, raftpico.ErrRejected) && !errors.Is(err, raftpico.ErrNoLeader) { // some less are as good
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for range 2 {
		s.try(func() error { _, err := a.TakeSnapshot(ctx); return err })
	}
	require.NoError(t, os.Remove(s.file("c")))
	s.try(func() error { _, err := a.RemoveServer(ctx, "c:1"); return err })
	s.start("c", "c:1")
	s.try(func() error { _, err := a.AddServer(ctx, "c:1"); return err })
	waitFor(t, func() bool { return voters(t, a) == 3 })
	s.level("a", "c")
	keep(t, s.file("c"), filepath.Join(to, "large.jsonl.gz"))
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.talks.write(t, filepath.Join(to, "talk.txt.gz"))
}

// inLine is how many wait for a lock.
func inLine(t *testing.T, s *raftpico.Server, name string) int {
	t.Helper()
	m := decodeLocks(t, whole(t, s).Machines.User)
	return len(m.Queue[name])
}

// talks are what servers say to each other: of each kind of line a few, of each connection.
type talks struct {
	mu  sync.Mutex
	all []*overheard
}

type overheard struct {
	net.Conn
	owner *talks
	name  string
	half  [2][]byte // lines that have not ended: what the dialling side has said, and the other
	lines []string
	seen  map[string]int
}

func (r *talks) record(from string, dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		k := &overheard{Conn: conn, owner: r, name: from + " to " + addr, seen: map[string]int{}}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, k)
		return k, nil
	}
}

func (k *overheard) Write(b []byte) (int, error) {
	k.heard(0, b) // before: the answer may come at once
	return k.Conn.Write(b)
}

func (k *overheard) Read(b []byte) (int, error) {
	n, err := k.Conn.Read(b)
	k.heard(1, b[:n])
	return n, err
}

// talkShape is what tells kinds of lines apart.
var talkShape = regexp.MustCompile(`"method":"[^"]*"|"type":"[^"]*"|\{"[A-Z][A-Za-z]*":|"reject"|"error"|"[a-z_]+":`)

func (k *overheard) heard(side int, b []byte) {
	k.owner.mu.Lock()
	defer k.owner.mu.Unlock()
	k.half[side] = append(k.half[side], b...)
	for {
		line, rest, ended := bytes.Cut(k.half[side], []byte("\n"))
		if !ended {
			return
		}
		k.half[side] = append([]byte(nil), rest...)
		if of := fmt.Sprint(side, talkShape.FindAllString(string(line[:min(len(line), 2000)]), 30)); k.seen[of] < 2 {
			k.seen[of]++
			k.lines = append(k.lines, []string{"> ", "< "}[side]+string(line))
		}
	}
}

func (r *talks) write(t *testing.T, path string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var text bytes.Buffer
	for _, k := range r.all {
		if len(k.lines) > 0 {
			fmt.Fprintf(&text, "# %s\n%s\n", k.name, strings.Join(k.lines, "\n"))
		}
	}
	keepText(t, text.Bytes(), path)
}
