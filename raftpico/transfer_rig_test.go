package raftpico_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico"
	"github.com/raftpico/go/raftpico/internal/peer"
)

// archive keeps every command's input. It is a machine.Snapshotter that watches how its server keeps the contract.
type archive struct {
	kept []json.RawMessage // owner: the loop

	nextWrite, nextLoad, nextHold atomic.Pointer[gate] // where the next one is to stop

	mu       sync.Mutex
	captures int
	writes   int // begun
	loads    int // returned
	open     int // captures whose write has not returned
	loading  int
	faults   []string
}

// gate stops who passes it until the test opens it.
type gate struct {
	reached, opened chan struct{}
	once            sync.Once
}

// newGate makes one that is open at the latest when the test ends: make it after the servers.
func newGate(t *testing.T) *gate {
	g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// pass is called by whoever takes the gate off its hook, so once.
func (g *gate) pass() {
	if g != nil {
		close(g.reached)
		<-g.opened
	}
}

func (g *gate) await(t *testing.T) {
	t.Helper()
	select {
	case <-g.reached:
	case <-time.After(long):
		require.FailNow(t, "nobody came to the gate")
	}
}

// long is when waiting for megabytes becomes a failure, also on a busy machine and with the race detector.
const long = 2 * time.Minute

// await waits until a condition holds, so long.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, long, 10*time.Millisecond)
}

func (m *archive) Apply(ctx *machine.Context, input json.RawMessage) (any, error) {
	if ctx.Kind == machine.Command {
		m.kept = append(m.kept, bytes.Clone(input))
		return len(m.kept), nil
	}
	if string(input) == `"hold"` {
		m.nextHold.Swap(nil).pass()
	}
	return m.sum(), nil
}

// sum tells the state in short.
func (m *archive) sum() string {
	crc := uint32(0)
	for _, input := range m.kept {
		crc = crc32.Update(crc, peer.Castagnoli, input)
	}
	return fmt.Sprintf("%d inputs, %08x", len(m.kept), crc)
}

func (m *archive) Snapshot() (json.RawMessage, error) {
	m.fault("Snapshot was called")
	return nil, errors.New("not here")
}

func (m *archive) Restore(json.RawMessage) error {
	m.fault("Restore was called")
	return errors.New("not here")
}

func (m *archive) Capture() (func(io.Writer) error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open > 0 {
		m.faults = append(m.faults, "captured while the capture before is being written")
	}
	m.captures++
	m.open++
	kept, written := m.kept[:len(m.kept):len(m.kept)], false
	return func(w io.Writer) error {
		m.mu.Lock()
		if written {
			m.faults = append(m.faults, "a capture was written twice")
		}
		written = true
		m.writes++
		alone := m.open == 1
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.open--
		}()
		if alone { // else the loop itself may be writing this one
			m.nextWrite.Swap(nil).pass()
		}
		return write(w, kept)
	}, nil
}

// write puts a state out in small pieces, some with white space.
func write(w io.Writer, kept []json.RawMessage) error {
	sep := "[\n"
	for _, input := range kept {
		if _, err := io.WriteString(w, sep); err != nil {
			return err
		}
		if _, err := w.Write(input); err != nil {
			return err
		}
		sep = " ,"
	}
	if len(kept) == 0 {
		sep += "]"
	} else {
		sep = "]"
	}
	_, err := io.WriteString(w, sep)
	return err
}

func (m *archive) Load(r io.Reader) (func(), error) {
	m.mu.Lock()
	if m.loading++; m.loading > 1 {
		m.faults = append(m.faults, "two are loaded at a time")
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.loading--
		m.loads++
	}()
	m.nextLoad.Swap(nil).pass()
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var kept []json.RawMessage
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, err
	}
	return func() { m.kept = kept }, nil
}

func (m *archive) fault(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, what)
}

func (m *archive) loaded() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loads
}

func (m *archive) unwritten() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// check holds the contract. Its server has been closed.
func (m *archive) check(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Empty(t, m.faults)
	require.Equal(t, m.captures, m.writes, "every capture is written, once")
	require.Zero(t, m.open+m.loading)
}

// archivist is a server of an archive, and how to start it again.
type archivist struct {
	*raftpico.Server
	m    *archive
	opts raftpico.Options
}

func startArchive(t *testing.T, change func(*raftpico.Options)) *archivist {
	t.Helper()
	opts := raftpico.Options{Addr: "127.0.0.1:0", File: filepath.Join(t.TempDir(), "log.jsonl"), Logger: quiet, Limits: raftpico.Limits{Deadline: long}}
	if change != nil {
		change(&opts)
	}
	a := &archivist{opts: opts}
	a.start(t)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func (a *archivist) start(t *testing.T) {
	t.Helper()
	a.m = &archive{}
	await(t, func() bool { // the port may still be on its way back
		s, err := raftpico.Start(a.m, a.opts)
		if err == nil {
			a.Server, a.opts.Addr = s, s.Addr()
		}
		return err == nil
	})
}

// restart closes it, holds the contract, and starts it again.
func (a *archivist) restart(t *testing.T) {
	t.Helper()
	require.NoError(t, a.Close())
	a.m.check(t)
	_, err := os.Stat(a.opts.File + ".new")
	require.ErrorIs(t, err, os.ErrNotExist, "a new file was left behind")
	a.start(t)
}

// fill gives it n inputs of size bytes.
func (a *archivist) fill(t *testing.T, n, size int) {
	t.Helper()
	for i := range n {
		applies(t, a.Server, fmt.Sprintf("%06d%s", i, strings.Repeat("x", size)))
	}
}

// sum is the state it has now.
func (a *archivist) sum(t *testing.T) string {
	t.Helper()
	out, err := a.Apply(t.Context(), machine.LocalQuery, "sum")
	require.NoError(t, err)
	return string(out)
}

// pair is a cluster of two, the first one leading; one that is "in memory" is the second.
func pair(t *testing.T, inMemory bool) (a, b *archivist) {
	t.Helper()
	a = startArchive(t, nil)
	b = startArchive(t, func(o *raftpico.Options) {
		if inMemory {
			o.File, o.InMemory = "", true
		}
	})
	joinAll(t, []*raftpico.Server{a.Server, b.Server}, still)
	return a, b
}

// fillAnyhow gives it n inputs, whatever the leader does meanwhile.
func (a *archivist) fillAnyhow(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		await(t, func() bool {
			_, err := a.Apply(t.Context(), machine.Command, fmt.Sprintf("%06d%s", i, strings.Repeat("y", 5<<10)))
			return err == nil
		})
	}
}

// gone waits until no reception has its file any more.
func (a *archivist) gone(t *testing.T) {
	t.Helper()
	await(t, func() bool { _, err := os.Stat(a.opts.File + ".new"); return errors.Is(err, os.ErrNotExist) })
}

// answers reads all that a client is told, and returns what gives out the next answer to an id. Where a slow disk has had the
// server tell its state without the machine, it is asked again.
func (c *client) answers() (next func(id string) string) {
	byID := map[string]chan string{}
	for _, id := range []string{"1", "2", "3", "4"} {
		byID[id] = make(chan string, 100)
	}
	go func() { // ends with the connection
		for {
			line, err := c.in.ReadString('\n')
			if err != nil {
				return
			}
			var answer struct{ ID json.RawMessage }
			_ = json.Unmarshal([]byte(line), &answer)
			if strings.Contains(line, `"machines_missing":"the disk does not answer"`) {
				_, _ = io.WriteString(c, request(string(answer.ID), "GetServerState", ""))
				continue
			}
			byID[string(answer.ID)] <- line
		}
	}()
	return func(id string) string {
		c.t.Helper()
		select {
		case line := <-byID[id]:
			return line
		case <-time.After(long):
			require.FailNow(c.t, "no answer", id)
			return ""
		}
	}
}
