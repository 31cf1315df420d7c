package node_test

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// null is a machine that does nothing, so that what is measured is the core's.
type null struct{}

func (null) Apply(*machine.Context, json.RawMessage) (any, error) { return nil, nil }
func (null) Snapshot() (json.RawMessage, error)                   { return json.RawMessage("{}"), nil }
func (null) Restore(json.RawMessage) error                        { return nil }

// free is an environment that costs nothing but what the real one costs the processor: records and messages are encoded.
type free struct {
	n        *node.Node
	others   map[uint64]*free // by node id; nil for messages that go nowhere
	inbox    [][]byte
	buf      []byte
	answered int
	refused  int // of these
	bytes    int // written to the log
	late     bool

	snapshots bool // are made, in the next turn
	holds     bool // snapshots are under way, until the test ends them
	slowly    int  // or else for so many turns more
	writing   int  // turns of the one under way
	copied    int  // bytes that were saved meanwhile
	job       *node.SnapshotJob
	file      *nowhere // of the last one
}

func (e *free) Late() bool { return e.late }

func (e *free) Uptime() (time.Duration, bool) { return 0, false }

func (e *free) Sent() {}

func (e *free) Send(m *wire.Message) bool {
	line, err := wire.AppendMessage(nil, m)
	if err != nil {
		panic(err)
	}
	to := e.others[m.To]
	to.inbox = append(to.inbox, line)
	return true
}

func (e *free) Answer(_ node.Caller, _ json.RawMessage, err *jsonrpc.Error) {
	if e.answered++; err != nil {
		e.refused++
	}
}

func (e *free) Reaches(node.Caller) bool { return true }

func (e *free) Save(r *wire.Record) (took time.Duration, err error) {
	e.buf, err = wire.AppendRecord(e.buf[:0], r)
	e.bytes += len(e.buf)
	if e.job != nil {
		e.copied += len(e.buf)
	}
	return 0, err
}

func (e *free) Replace(...*wire.Record) error { return nil }
func (e *free) BeginSnapshot(job *node.SnapshotJob) {
	if !e.snapshots && !e.holds {
		e.n.SnapshotDone(job, fmt.Errorf("there is no room"))
		return
	}
	e.job = job
}
func (e *free) Install(*wire.Snapshot, *wire.HardState) error { return nil }
func (e *free) Encode(*node.StateJob)                         {}
func (e *free) SetPeers([]node.Peer)                          {}
func (e *free) Park(c node.Caller, _ int) (node.Caller, bool) { return c, true }

func (e *free) Probe(uint64, string) {}

// nowhere is a file of snapshots that nobody reads. It has a look at the entries beside them.
type nowhere struct {
	lines, bytes int
	prev         wire.EntryID
}

func (f *nowhere) Write(r *wire.Record) error {
	if r.LogEntries == nil {
		return nil
	}
	if f.lines++; f.lines > 1 && r.LogEntries.Prev != f.prev || wire.SizeOf(r) > 2<<20 {
		return fmt.Errorf("a line of %d bytes after %v", wire.SizeOf(r), r.LogEntries.Prev)
	}
	f.bytes += wire.SizeOf(r)
	last := r.LogEntries.Entries[len(r.LogEntries.Entries)-1]
	f.prev = wire.EntryID{Term: last.GetTerm(), Index: last.GetIndex()}
	return nil
}

func (*nowhere) WriteSnapshot(_ *wire.Snapshot, state func(io.Writer) error) error {
	return state(io.Discard)
}

// turn takes in what has come, and flushes.
func (e *free) turn(b testing.TB) {
	if e.job != nil {
		e.writing++
	}
	if job := e.job; job != nil && !e.holds && e.writing > e.slowly {
		e.job, e.writing = nil, 0
		e.file = new(nowhere)
		require.NoError(b, job.Write(e.file))
		e.n.SnapshotDone(job, nil)
	}
	for _, line := range e.inbox {
		m, err := wire.DecodeMessage(line)
		switch {
		case err == nil && m.Snapshot != nil:
			err = e.n.Snapshot(m.From, m, 2)
		case err == nil:
			err = e.n.Message(m.From, m)
		}
		require.NoError(b, err)
	}
	e.inbox = e.inbox[:0]
	require.NoError(b, e.n.Flush())
}

// startCores makes a cluster of n cores by giving each the log of a cluster that has formed.
func startCores(b testing.TB, n int, change ...func(*node.Config)) []*free {
	b.Helper()
	var ids []uint64
	members := map[string]any{}
	for id := uint64(1); id <= uint64(n); id++ {
		ids = append(ids, id)
		members[fmt.Sprint(id)] = map[string]string{"addr": fmt.Sprint("s", id, ":1"), "instance": fmt.Sprint("i", id)}
	}
	system, err := json.Marshal(map[string]any{"min_election_timeout_ms": 300, "max_election_timeout_ms": 2000, "members": members})
	require.NoError(b, err)
	cores := make([]*free, n)
	byID := map[uint64]*free{}
	for i, id := range ids {
		e := &free{others: byID}
		cfg := node.Config{Machine: null{}, Addr: fmt.Sprint("s", id, ":1"), Boot: fmt.Sprint("boot", id), ClusterID: "c", ClusterKey: "k", Deadline: time.Hour,
			MaxPending: 1 << 20, MaxUncommitted: 1 << 40, CompactAfter: 1 << 62, Trailing: 4 << 20, MessageSize: 1 << 20, Inflight: 8 << 20, PageSize: 4 << 20,
			HeartbeatTicks: 1, Logger: slog.New(slog.DiscardHandler)}
		for _, f := range change {
			f(&cfg)
		}
		e.n, err = node.New(cfg, e, node.Stored{Instance: fmt.Sprint("i", id), Identity: &wire.Identity{ClusterID: "c", Key: "k", NodeID: id},
			Snapshot: &wire.Snapshot{LastIncluded: wire.EntryID{Term: 1, Index: 100}, Voters: ids, Learners: []uint64{},
				Machines: wire.Machines{System: system}}, HardState: wire.HardState{Term: 1, Commit: 100}, Prev: wire.EntryID{Term: 1, Index: 100}})
		require.NoError(b, err)
		cores[i], byID[id] = e, e
	}
	for _, e := range cores {
		for _, id := range ids {
			if byID[id] != e {
				e.n.PeerUp(id, 0, wire.Level)
			}
		}
	}
	now := time.Duration(0)
	for began := time.Now(); cores[0].n.State().Role != "Leader"; now += 100 * time.Millisecond {
		require.Less(b, time.Since(began), time.Minute)
		cores[0].n.SetTime(now, time.UnixMilli(1_700_000_000_000))
		cores[0].n.Tick()
		settle(b, cores)
	}
	return cores
}

// settle lets the cores talk until nobody has anything to say.
func settle(b testing.TB, cores []*free) {
	for busy := true; busy; {
		busy = false
		for _, e := range cores {
			e.turn(b)
		}
		for _, e := range cores {
			busy = busy || len(e.inbox) > 0
		}
	}
}

// BenchmarkCommands is what a command costs on all three servers together, without connections, disk and machine: 300 are
// proposed in each turn, all at the leader or 100 at each. An operation is one command.
func BenchmarkCommands(b *testing.B) {
	for _, c := range []struct {
		name  string
		cores int
		at    int // servers asked
	}{{"one server", 1, 1}, {"three, at the leader", 3, 1}, {"three, at all", 3, 3}} {
		b.Run(c.name, func(b *testing.B) {
			benchmark(b, startCores(b, c.cores)[:], c.at, &node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(`{"Put":["foo",123]}`)})
		})
	}
}

// BenchmarkSessions does so for commands in ten sessions, each acknowledged a turn later.
func BenchmarkSessions(b *testing.B) {
	cores := startCores(b, 3)
	const sessions = 10
	var ids [sessions]uint64
	for i := range ids {
		cores[0].n.Request(0, &node.Request{Op: node.OpenSession})
		settle(b, cores)
		ids[i] = cores[0].n.State().AppliedIndex
	}
	seq := uint64(0)
	benchmarkEach(b, cores, 1, func(r *node.Request, i int) {
		if i%sessions == 0 {
			seq++
		}
		*r = node.Request{Op: node.Apply, Kind: machine.Command, Input: json.RawMessage(`{"Put":["foo",123]}`),
			Session: wire.SessionSeq{ID: ids[i%sessions], Seq: seq, Ack: seq - min(seq, 300/sessions)}}
	})
}

// BenchmarkQueries does so for linearizable queries.
func BenchmarkQueries(b *testing.B) {
	benchmark(b, startCores(b, 3), 3, &node.Request{Op: node.Apply, Kind: machine.Query, Input: json.RawMessage(`{"Get":"foo"}`)})
}

// BenchmarkLocalQueries does so for local ones.
func BenchmarkLocalQueries(b *testing.B) {
	benchmark(b, startCores(b, 3), 3, &node.Request{Op: node.Apply, Kind: machine.LocalQuery, Input: json.RawMessage(`{"Get":"foo"}`)})
}

func benchmark(b *testing.B, cores []*free, at int, r *node.Request) {
	benchmarkEach(b, cores, at, func(each *node.Request, _ int) { *each = *r })
}

// benchmarkEach asks for what draw makes.
func benchmarkEach(b *testing.B, cores []*free, at int, draw func(r *node.Request, i int)) {
	b.ReportAllocs()
	const each = 300
	answered := func() (n int) {
		for _, e := range cores {
			n += e.answered
		}
		return n
	}
	before := answered()
	asked := 0
	b.ResetTimer()
	for asked < b.N {
		for i := range each {
			var r node.Request
			draw(&r, i)
			cores[i%at].n.Request(i, &r)
		}
		asked += each
		settle(b, cores)
		require.Equal(b, asked, answered()-before)
	}
}
