package raftpico_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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

// Whatever calls for the machine's state at once, it is captured once at a time, and every capture is written.
func TestCapturesNeverOverlap(t *testing.T) {
	t.Parallel()
	small := func(o *raftpico.Options) { o.Limits.CompactAfter = 64 << 10 }
	a := startArchive(t, small)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	var asking sync.WaitGroup
	var put atomic.Int64
	stop := make(chan struct{})
	for i := range 6 {
		asking.Go(func() { // ends when it is told to
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch i % 3 {
				case 0:
					size := 10 << 10
					if put.Add(1) > 500 {
						size = 1 // the archive keeps everything: it must not grow faster than it travels
					}
					_, _ = a.Apply(context.Background(), machine.Command, strings.Repeat("z", size))
				case 1:
					_, _ = a.State(context.Background(), true)
				default:
					_, _ = a.TakeSnapshot(context.Background())
				}
			}
		})
	}
	b := startArchive(t, small)
	_, err = a.AddServer(t.Context(), b.Addr())
	require.NoError(t, err)
	await(t, func() bool { return voters(t, b.Server) == 2 })
	close(stop)
	asking.Wait()
	require.NoError(t, b.Close())
	require.NoError(t, a.Close())
	a.m.check(t)
	b.m.check(t)
}

func TestServerStateWaitsForTheSnapshotThatIsMade(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	a.fill(t, 3, 1000)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	answer := c.answers()
	c.send(request("1", "TakeSnapshot", ""))
	g.await(t)
	c.send(request("2", "GetServerState", ""), request("3", "GetServerState", ""), request("4", "GetServerState", `[false]`))
	answer("4")        // who does not want the machines does not wait
	a.fill(t, 1, 1000) // meanwhile
	g.open()
	answer("1")
	for _, id := range []string{"2", "3"} {
		line := answer(id)
		require.Contains(t, line, `"user":["000000xxx`)
		require.Equal(t, 4, strings.Count(line, `"00000`), "as of when it was captured")
	}
	require.NoError(t, a.Close())
	a.m.check(t)
	require.Less(t, a.m.captures, 6, "they share one")
}

func TestServerStateIsAnsweredByTheDeadline(t *testing.T) {
	t.Parallel()
	a := startArchive(t, func(o *raftpico.Options) { o.Limits.Deadline = 300 * time.Millisecond })
	g := newGate(t)
	a.m.nextWrite.Store(g)
	for range 2 { // one whose state is being written, and one that waits for that
		state, err := a.State(t.Context(), true)
		require.NoError(t, err)
		require.Nil(t, state.Machines)
		require.NotEmpty(t, state.Lack)
		require.NotEmpty(t, state.Version, "all else is there")
	}
	g.open()
	await(t, func() bool {
		state, err := a.State(t.Context(), true)
		return err == nil && state.Machines != nil && string(state.Machines.User) == "[]"
	})
}

func TestServerStateIsAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "GetServerState", ""))
	g.await(t)
	c.send(request("2", "GetServerState", ""), request("3", "GetServerState", "[false]"))
	require.Equal(t, "3", string(idOf(t, c.line())), "the others wait")
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }() // ends with Close
	for range 2 {
		line := c.line()
		require.Contains(t, line, `"result":{`)
		require.Contains(t, line, `"machines_missing":"`)
	}
	g.open()
	require.NoError(t, <-closed)
	a.m.check(t)
}

func TestServerStateHasItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 64 << 20
	piece := json.RawMessage(`"` + strings.Repeat("x", 1<<20-3) + `"`) // with a comma 1 MiB
	for _, size := range []int{limit, limit + 1} {
		kept := make([]json.RawMessage, 63)
		for i := range kept {
			kept[i] = piece
		}
		kept = append(kept, json.RawMessage(`"`+strings.Repeat("y", size-63<<20-4)+`"`))
		s, err := raftpico.Start(&archive{kept: kept}, raftpico.Options{Addr: "127.0.0.1:0", InMemory: true, Logger: quiet, Limits: raftpico.Limits{Deadline: 10 * time.Minute}})
		require.NoError(t, err)
		c := dial(t, s)
		c.send(request("1", "GetServerState", ""))
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Minute)))
		line, err := c.in.ReadString('\n')
		require.NoError(t, err)
		if size == limit {
			require.Greater(t, len(line), limit)
			require.False(t, strings.Contains(line, "machines_missing"))
			require.True(t, strings.Contains(line, `yyy"]}`))
		} else {
			require.Less(t, len(line), 4000)
			require.Contains(t, line, `more than 64 MiB`)
		}
		c.silent()
		require.NoError(t, s.Close())
	}
}

// machine.Snapshotter: the server "captures again only when [write] has returned", also if a snapshot from the leader
// has passed over the one that is being written.
func TestInstalledSnapshotDoesNotHurryCaptures(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{false, true} {
		a, b := pair(t, inMemory)
		p := playing(t, a, b)
		g := newGate(t)
		b.m.nextWrite.Store(g)
		_, err := a.TakeSnapshot(t.Context())
		require.NoError(t, err)
		g.await(t)
		require.NoError(t, a.Close())
		c := p.connect()
		require.Equal(t, done, p.announce(c, p.offer(50), 5))
		require.Equal(t, done, p.chunk(c, `["a"]`))
		require.Equal(t, done, p.say(c, peer.MethodInstall, crcOf(`["a"]`)))
		d := dial(t, b.Server)
		d.send(request("1", "GetServerState", ""), request("2", "GetServerState", "[false]"))
		first := d.line() // by now the other one was taken in
		g.open()
		require.ElementsMatch(t, []string{"1", "2"}, []string{string(idOf(t, first)), string(idOf(t, d.line()))})
		require.NoError(t, b.Close())
		b.m.check(t)
	}
}

func TestStoppingServerDoesNotHurryCaptures(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "TakeSnapshot", ""))
	g.await(t)
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }() // ends with Close
	await(t, func() bool {
		_, err := a.Apply(t.Context(), machine.Command, 1)
		return errors.Is(err, raftpico.ErrRejected)
	})
	c.send(request("2", "GetServerState", ""))
	answers := c.line()
	g.open()
	answers += c.line()
	require.Contains(t, answers, `"id":1,`)
	require.Contains(t, answers, `"id":2,`)
	require.NoError(t, <-closed)
	a.m.check(t)
}

func TestCreateClusterDoesNotHurryCaptures(t *testing.T) {
	t.Parallel()
	a := startArchive(t, nil)
	g := newGate(t)
	a.m.nextWrite.Store(g)
	c := dial(t, a.Server)
	c.send(request("1", "GetServerState", ""))
	g.await(t)
	c.send(request("2", "CreateCluster", ""), request("3", "GetServerState", "[false]"))
	answers := c.line() // by now the others were taken in
	g.open()
	answers += c.line() + c.line()
	require.True(t, strings.Contains(answers, `{"members":["`) || strings.Contains(answers, `"code":110`), answers)
	require.NoError(t, a.Close())
	a.m.check(t)
}

// A transfer whose sender has fallen silent must not keep a server from shortening its log for ever: when the log has
// passed the transfer's index, it is of no use.
func TestStalledTransferDoesNotPreventSnapshots(t *testing.T) {
	t.Parallel()
	a, b := pair(t, false)
	p := playing(t, a, b)
	c := p.connect()
	m := p.offer(3)
	*m.Raft.Term--
	m.Snapshot.LastIncluded.Term--
	require.Equal(t, done, p.announce(c, m, 1000))
	require.Equal(t, done, p.chunk(c, `["a`)) // and nothing more
	a.fill(t, 20, 10)
	await(t, func() bool { return a.sum(t) == b.sum(t) })
	_, err := b.TakeSnapshot(t.Context())
	require.NoError(t, err)
}

// A server without a file whose own snapshot is overtaken by one from the leader can send that one on.
func TestOvertakenSnapshotInMemoryIsNotKept(t *testing.T) {
	t.Parallel()
	a, b := pair(t, true)
	a.fill(t, 3, 10)
	p := playing(t, a, b)
	g := newGate(t)
	b.m.nextWrite.Store(g)
	_, err := a.TakeSnapshot(t.Context())
	require.NoError(t, err)
	g.await(t)
	require.NoError(t, a.Close())
	c := p.connect()
	require.Equal(t, done, p.announce(c, p.offer(1000), 5))
	require.Equal(t, done, p.chunk(c, `["a"]`))
	require.Equal(t, done, p.say(c, peer.MethodInstall, crcOf(`["a"]`)))
	g.open()
	await(t, func() bool { return b.m.unwritten() == 0 })
	state, err := b.State(t.Context(), true) // the end of the job has been heard of before this
	require.NoError(t, err)
	require.NotNil(t, state.Machines)
	sum := b.sum(t)
	a.start(t) // far behind: it needs the snapshot, and its vote is needed
	await(t, func() bool { return a.sum(t) == sum })
}

// Who asks for the state without end must not keep the log from being shortened.
func TestServerStateDoesNotStarveSnapshots(t *testing.T) {
	t.Parallel()
	a := startArchive(t, func(o *raftpico.Options) { o.Limits.CompactAfter = 64 << 10 })
	_, err := a.CreateCluster(t.Context(), calm)
	require.NoError(t, err)
	c := dial(t, a.Server)
	answer := c.answers()
	ask := request("1", "GetServerState", "")
	first := newGate(t)
	a.m.nextWrite.Store(first)
	c.send(ask)
	first.await(t)
	a.fill(t, 3, 100<<10) // the log is long
	begun := false
	for range 4 {
		c.send(ask, request("2", "GetServerState", "[false]"))
		answer("2") // the other one waits behind the first
		next := newGate(t)
		a.m.nextWrite.Store(next)
		first.open()
		next.await(t)
		_, err := os.Stat(a.opts.File + ".new")
		begun = begun || err == nil
		if first = next; begun {
			break
		}
		answer("1") // to the one before
	}
	first.open()
	require.True(t, begun, "four states were encoded, one behind the other, and no snapshot")
}

// slow is a machine that writes its state for as long as anybody wants it.
type slow struct {
	archive
	writing, told atomic.Bool
	enough        chan struct{}
}

func (m *slow) Capture() (func(io.Writer) error, error) {
	return func(w io.Writer) error {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		sep := "["
		for {
			if _, err := io.WriteString(w, sep+`"`+strings.Repeat("s", 100)+`"`); err != nil {
				m.told.Store(true)
				return err
			}
			sep = ","
			m.writing.Store(true)
			select {
			case <-pace.C:
			case <-m.enough:
				_, err := io.WriteString(w, "]")
				return err
			}
		}
	}, nil
}

// machine.Snapshotter: "a snapshot that is no longer wanted shows as an error of w".
func TestWriteOfAnUnwantedStateIsToldSo(t *testing.T) {
	t.Parallel()
	for name, began := range map[string]string{"TakeSnapshot": request("1", "TakeSnapshot", ""), "GetServerState": request("1", "GetServerState", "")} {
		for _, inMemory := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s at the end, in memory %v", name, inMemory), func(t *testing.T) {
				m := &slow{enough: make(chan struct{})}
				close(m.enough) // CreateCluster captures, too
				s := startServer(t, m, func(o *raftpico.Options) {
					if inMemory {
						o.File, o.InMemory = "", true
					}
				})
				_, err := s.CreateCluster(t.Context(), calm)
				require.NoError(t, err)
				m.enough = make(chan struct{})
				m.writing.Store(false)
				enough := sync.OnceFunc(func() { close(m.enough) })
				t.Cleanup(enough)
				c := dial(t, s)
				await(t, func() bool {
					if m.writing.Load() {
						return true
					}
					c.send(began) // while the disk is slow, the state is told without the machine
					return false
				})
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }() // ends with Close
				select {
				case err := <-closed:
					require.NoError(t, err)
				case <-time.After(30 * time.Second):
					enough()
					<-closed
					require.Fail(t, "Close waited for a state that nobody wants")
				}
			})
		}
	}
}
