package node_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/machine"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/storage/memfs"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// TestTranscripts runs the specifications in testdata: a few cores driven by hand, without a network, each with a log
// in memory. The commands are in the table below. Regenerate with -rewrite, and
// read the diff as code.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		cryptotest.SetGlobalRandom(t, 1) // the library's election jitter
		w := newWorld(t)
		w.told = map[node.Caller]bool{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.out.Reset()
			command, ok := commands[d.Cmd]
			if !ok {
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			command(w, d)
			if w.out.Len() == 0 {
				return "ok\n"
			}
			return w.out.String()
		})
	})
}

// world is a few servers and the messages between them.
type world struct {
	t         *testing.T
	out       strings.Builder
	servers   []*server // by name: a, b, c
	flight    []*wire.Message
	cut       map[[2]uint64]bool // links that are down, by names' numbers
	now       time.Duration
	wall      time.Time
	serial    int
	holding   time.Duration
	checks    time.Duration
	page      uint64
	build     int  // of the machines of servers that come
	keepers   bool // they have keepers
	hears     bool // which hear of what was abandoned
	limit     []func(*node.Config)
	opened    []uint64               // sessions
	answers   map[node.Caller]string // or errors, where somebody wants to know
	told      map[node.Caller]bool   // in transcripts, where each caller asks once: those who have an answer
	unreached map[node.Caller]bool   // no answer would reach them
	verbose   bool                   // messages are shown when they are delivered
}

// server is one core with its log and its links.
type server struct {
	w        *world
	name     string
	addr     string
	boots    int
	wipes    int
	build    int // of its machine: see versions_test.go
	behind   int // how many levels its release is behind, as it says: see levels_test.go
	fs       *memfs.FS
	log      *storage.Log
	node     *node.Node // nil: not running
	m        *register
	isKeeper bool         // its machine is
	warnings bytes.Buffer // what it has logged as a warning since its start
	k        *keeper      // and not m
	hearer   *hearer      // has k
	skew     time.Duration
	ahead    time.Duration // of the others' Uptime
	late     bool
	shown    int // of what happened to its machine
	peers    []node.Peer
	up       map[uint64]*server
	limit    node.Config
	probed   []func()           // answers to probes, for the next turn
	held     bool               // they wait
	frozen   bool               // it does nothing, and its links stay
	copied   []byte             // its file as it was once
	ready    *arrival           // a snapshot whose state is there, for the next turn
	atDisk   func(*wire.Record) // while a line is written
	stood    stood              // after its last turn: standing_test.go
}

// register is the machine of the transcripts: a list of what was applied. A query answers it.
type register struct {
	Applied []string `json:"applied"`
}

func (r *register) Apply(ctx *machine.Context, in string) (any, error) {
	switch {
	case in == "bad":
		return nil, fmt.Errorf("this is bad")
	case in == "chance": // another word on each server
		chances++
		in = fmt.Sprint(in, " ", chances)
		fallthrough
	case ctx.Kind == machine.Command:
		r.Applied = append(r.Applied, in)
		return fmt.Sprintf("%s is number %d", in, len(r.Applied)), nil
	}
	return r.Applied, nil
}

// chances is a machine's own chance.
var chances int

func newWorld(t *testing.T) *world {
	chances = 0
	return &world{t: t, cut: map[[2]uint64]bool{}, wall: epoch}
}

var commands = map[string]func(*world, *datadriven.TestData){
	// servers SERVER[=BYTES]…: they start without a cluster; BYTES is their limit of uncommitted ones
	"servers": (*world).addServers,
	// holding TIME: how long commands and notices of commits are held back by servers that start from now on
	"holding": func(w *world, d *datadriven.TestData) {
		var err error
		w.holding, err = time.ParseDuration(d.CmdArgs[0].Key)
		require.NoError(w.t, err)
	},
	// page BYTES: of committed entries, at servers that start from now on
	"page": func(w *world, d *datadriven.TestData) { w.page = uint64(w.number(d.CmdArgs[0].Key)) },
	// cluster SERVER…: the same, and they have become a cluster that the first one leads
	"cluster": func(w *world, d *datadriven.TestData) {
		w.addServers(d)
		first := w.servers[0]
		first.node.Request(nobody, &node.Request{Op: node.CreateCluster, Timeouts: node.DefaultTimeouts})
		for _, s := range w.servers[1:] {
			first.node.Request(nobody, &node.Request{Op: node.AddServer, Addr: s.addr})
		}
		first.flush()
		w.pass(120*time.Millisecond, func(*server) bool { return true })
	},
	// request SERVER METHOD [WORD=VALUE…]: one request for each line of input, all in one turn; the words are in keeper_test.go
	"request": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		inputs := strings.Split(strings.TrimSpace(d.Input), "\n")
		for i, in := range inputs {
			w.serial++
			r := &node.Request{Timeouts: node.DefaultTimeouts}
			w.setRequest(d, i, r)
			switch method := d.CmdArgs[1].Key; method {
			case "Command", "Query", "LocalQuery":
				r.Op, r.Input = node.Apply, json.RawMessage(strconv.Quote(in))
				require.NoError(w.t, r.Kind.UnmarshalText([]byte(method)))
			case "Configure":
				r.Op, r.Leases = node.Configure, node.Choose(in == "leases")
			default:
				r.Op, r.Addr = ops[method], in+":1"
				if voter, said := wishes[method]; said {
					r.Voter = &voter
				}
			}
			s.node.Request(caller(w.serial), r)
		}
		s.flush()
	},
	// deliver [SERVER…]: messages travel, links come up, until all is quiet; only to the servers named
	"deliver": func(w *world, d *datadriven.TestData) {
		only := map[string]bool{}
		for _, arg := range d.CmdArgs {
			only[arg.Key] = true
		}
		w.deliver(func(s *server) bool { return len(only) == 0 || only[s.name] })
	},
	// lose SERVER: what is under way to it is lost, and only that way: its senders' links live on for all that they know
	"lose": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		w.flight = slices.DeleteFunc(w.flight, func(m *wire.Message) bool { return m.To == s.id() })
	},
	// pass TIME [SERVER…]: time passes, in steps of a tick, and messages travel after each; only for the servers named
	"pass": func(w *world, d *datadriven.TestData) {
		span, err := time.ParseDuration(d.CmdArgs[0].Key)
		require.NoError(w.t, err)
		w.pass(span, func(s *server) bool { return len(d.CmdArgs) == 1 || d.HasArg(s.name) })
	},
	// wall DURATION: the wall clock jumps
	"wall": func(w *world, d *datadriven.TestData) {
		jump, err := time.ParseDuration(d.CmdArgs[0].Key)
		require.NoError(w.t, err)
		w.wall = w.wall.Add(jump)
	},
	// cut A B: the links between them break, with all that is under way. mend A B: they come up again
	"cut":  func(w *world, d *datadriven.TestData) { w.setCut(d, true) },
	"mend": func(w *world, d *datadriven.TestData) { w.setCut(d, false) },
	// crash SERVER: it is gone, with what was not synced. restart SERVER: it comes back from its log
	"crash":   func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).crash() },
	"restart": func(w *world, d *datadriven.TestData) { w.server(d.CmdArgs[0].Key).start() },
	// wipe SERVER: it is gone, and comes back with a new file
	"wipe": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		s.crash()
		s.fs, s.wipes = memfs.New(), s.wipes+1
		s.start()
	},
	// stop SERVER: it answers what is pending
	"stop": func(w *world, d *datadriven.TestData) {
		s := w.server(d.CmdArgs[0].Key)
		s.node.Stop("the server is stopping")
		require.Zero(w.t, s.node.Pending(), "all are answered")
	},
	// handover SERVER: it gives leadership away, as a server does that is to stop
	"handover": func(w *world, d *datadriven.TestData) { s := w.server(d.CmdArgs[0].Key); s.node.Drain(); s.flush() },
	// break-disk SERVER [rename|write]: its next sync, rename, or the write after the next, fails
	"break-disk": func(w *world, d *datadriven.TestData) {
		op, n := memfs.Sync, 1
		if d.HasArg("rename") {
			op = memfs.Rename
		} else if d.HasArg("write") {
			op, n = memfs.Write, 2 // the first is of the entry itself
		}
		w.server(d.CmdArgs[0].Key).fs.Fail(op, n, fmt.Errorf("input/output error"))
	},
	// state: who is what
	"state": func(w *world, d *datadriven.TestData) {
		for _, s := range w.servers {
			if s.node == nil {
				fmt.Fprintf(&w.out, "%s: down\n", s.name)
				continue
			}
			st := s.node.State()
			id := "nobody"
			if st.NodeID != nil {
				id = fmt.Sprint(*st.NodeID)
			}
			fmt.Fprintf(&w.out, "%s: id %s, %s, term %d, commit %d, applied %d, last %d, leader %s", s.name, id, st.Role, st.Term, st.CommitIndex, st.AppliedIndex, st.LastIndex, cmp.Or(st.Leader, "unknown"))
			for _, m := range st.Members {
				fmt.Fprintf(&w.out, ", %s %s", m.Addr, m.Role)
				if m.Nonvoter {
					w.out.WriteString(" for good")
				}
			}
			if st.RemovedDead > 0 {
				fmt.Fprintf(&w.out, ", %d dead removed", st.RemovedDead)
			}
			if st.Removed {
				w.out.WriteString(", removed")
			}
			fmt.Fprintf(&w.out, "; %s\n", strings.Join(s.applied(), " "))
		}
	},
	// log SERVER [COUNT]: the file, or its last lines
	"log": func(w *world, d *datadriven.TestData) {
		var lines []string
		_, err := storage.Inspect(w.server(d.CmdArgs[0].Key).fs, "log", func(l *storage.Line) error {
			text, err := io.ReadAll(l.Text())
			lines = append(lines, fmt.Sprintf("%s}\n", text[:strings.LastIndex(string(text), `,"crc"`)]))
			return err
		})
		require.NoError(w.t, err)
		if len(d.CmdArgs) > 1 {
			lines = lines[len(lines)-w.number(d.CmdArgs[1].Key):]
		}
		w.out.WriteString(strings.Join(lines, ""))
	},
	// messages on|off: show what is delivered
	"messages": func(w *world, d *datadriven.TestData) { w.verbose = d.CmdArgs[0].Key == "on" },
}

var ops = map[string]node.Op{"CreateCluster": node.CreateCluster, "AddServer": node.AddServer, "RemoveServer": node.RemoveServer,
	"TakeSnapshot": node.TakeSnapshot, "CheckState": node.CheckState, "Backup": node.Backup, "TransferLeader": node.TransferLeader,
	"Configure": node.Configure, "AddNonvoter": node.AddServer, "Promote": node.SetVoter, "Demote": node.SetVoter,
	"OpenSession": node.OpenSession, "KeepSession": node.KeepSession, "CloseSession": node.CloseSession}

// wishes are what AddServer and SetVoter want of a server in methods that are more than one.
var wishes = map[string]bool{"AddNonvoter": false, "Promote": true, "Demote": false}

func (w *world) addServers(d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		s := &server{w: w, name: arg.Key, addr: arg.Key + ":1", build: w.build, isKeeper: w.keepers, fs: memfs.New(), limit: node.Config{Deadline: 10 * time.Second, MaxTimeout: 5 * time.Minute, MaxPending: 100, MaxUncommitted: 1 << 20, CompactAfter: 1 << 20,
			Trailing: 4 << 20, MessageSize: 1 << 20, Inflight: 8 << 20, PageSize: cmp.Or(w.page, 4<<20), HeartbeatTicks: 1}}
		if len(arg.Vals) > 0 {
			s.limit.MaxUncommitted = uint64(w.number(arg.Vals[0]))
		}
		for _, set := range w.limit {
			set(&s.limit)
		}
		w.servers = append(w.servers, s)
		s.start()
	}
}

func (w *world) pass(span time.Duration, whom func(*server) bool) {
	for end := w.now + span; w.now < end; {
		w.now += 30 * time.Millisecond
		for _, s := range w.servers {
			if whom(s) {
				s.flush()
			}
		}
		w.deliver(func(*server) bool { return true })
	}
}

func (w *world) number(s string) int {
	n, err := strconv.Atoi(s)
	require.NoError(w.t, err)
	return n
}

func (w *world) server(name string) *server {
	for _, s := range w.servers {
		if s.name == name {
			return s
		}
	}
	w.t.Fatalf("no server %q", name)
	return nil
}

// whereabouts is the server that runs where a link is dialled, first of all, or nil.
func (w *world) whereabouts(p node.Peer) *server {
	for _, addr := range []string{p.Place, p.Hint, p.Addr} {
		if i := slices.IndexFunc(w.servers, func(s *server) bool { return s.addr == addr && s.node != nil }); i >= 0 {
			return w.servers[i]
		}
	}
	return nil
}

func (w *world) setCut(d *datadriven.TestData, cut bool) {
	a, b := w.server(d.CmdArgs[0].Key), w.server(d.CmdArgs[1].Key)
	for _, pair := range [][2]*server{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		w.cut[[2]uint64{from.number(), to.number()}] = cut
		if cut {
			from.unlink(to)
		}
	}
}

// deliver moves messages and brings links up until nothing happens any more.
func (w *world) deliver(to func(*server) bool) {
	for busy := true; busy; {
		busy = false
		for _, s := range w.servers {
			busy = s.connect(to) || busy
		}
		flight := w.flight
		w.flight = nil
		for _, m := range flight {
			i := slices.IndexFunc(w.servers, func(s *server) bool { return s.id() == m.To })
			if i < 0 || !to(w.servers[i]) || w.servers[i].frozen {
				w.flight = append(w.flight, m)
				continue
			}
			busy = true
			line, err := wire.AppendMessage(nil, m)
			require.NoError(w.t, err)
			if w.verbose {
				fmt.Fprintf(&w.out, "%s\n", line)
			}
			m, err = wire.DecodeMessage(line)
			require.NoError(w.t, err)
			if m.Snapshot != nil {
				w.servers[i].receive(m)
				continue
			}
			if err := w.servers[i].node.Message(m.From, m); err != nil {
				fmt.Fprintf(&w.out, "%s: %v\n", w.servers[i].name, err)
				for _, s := range w.servers { // the connection is closed: its sender says hello again, and is told
					if s.node != nil && s.up[m.To] == w.servers[i] && s.id() == m.From {
						delete(s.up, m.To)
						s.node.PeerDown(m.To)
					}
				}
			}
		}
		for _, s := range w.servers {
			s.flush()
		}
	}
}

// connect says hello to the servers that a link is wanted to, as package peer does.
func (s *server) connect(allowed func(*server) bool) (busy bool) {
	for _, p := range s.peers {
		to := s.w.whereabouts(p)
		if s.node == nil || s.frozen || s.up[p.ID] != nil || to == nil || to.frozen || !allowed(to) || s.w.cut[[2]uint64{s.number(), to.number()}] {
			continue
		}
		identity, _ := s.node.Identity()
		me := node.Peer{ID: identity.NodeID, Addr: s.addr, Instance: s.instance()}
		verdict := to.node.Hello(identity.ClusterID, me, p)
		if verdict == node.Stranger && to.id() == 0 {
			identity.NodeID = p.ID
			if to.node.Join(identity, p.Instance) == nil {
				verdict = to.node.Hello(identity.ClusterID, me, p)
			}
		}
		switch verdict {
		case node.Welcome:
			s.up[p.ID] = to
			s.node.PeerUp(p.ID, to.build, wire.Level-to.behind)
			busy = true
		case node.Removed:
			before := len(s.peers)
			s.node.ToldRemoved()
			busy = busy || len(s.peers) != before // it retired
		}
	}
	return busy
}
