package node_test

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-json"
	"github.com/stretchr/testify/require"

	"github.com/raftpico/go/jsonrpc"
	"github.com/raftpico/go/raftpico/internal/node"
	"github.com/raftpico/go/raftpico/internal/storage"
	"github.com/raftpico/go/raftpico/internal/wire"
)

// A server of the transcripts: how it starts and ends, its turns, and its core's environment.

func (s *server) number() uint64 { return uint64(s.name[0]) }

// unlink breaks the link to another server.
func (s *server) unlink(to *server) {
	for _, id := range slices.Sorted(maps.Keys(s.up)) {
		if s.up[id] == to {
			delete(s.up, id)
			if s.node != nil {
				s.node.PeerDown(id)
				s.flush()
			}
			s.w.flight = slices.DeleteFunc(s.w.flight, func(m *wire.Message) bool { return m.To == id && s.id() == m.From })
		}
	}
}

func (s *server) id() uint64 {
	if s.node == nil {
		return 0
	}
	identity, _ := s.node.Identity()
	return identity.NodeID
}

func (s *server) start() {
	s.boots++
	log, state, err := storage.Open(s.fs, "log", s.instance())
	require.NoError(s.w.t, err)
	s.log, s.m, s.peers, s.up, s.ready = log, &register{}, nil, map[uint64]*server{}, nil
	if s.k = nil; s.isKeeper {
		s.hearer = &hearer{}
		s.k = &s.hearer.keeper
	}
	cfg := s.limit
	cfg.Machine, cfg.Addr, cfg.Boot = s.machine(), s.addr, fmt.Sprintf("boot%s%d", s.name, s.boots)
	cfg.ClusterID, cfg.ClusterKey = "cluster"+s.name, "key"
	cfg.HoldCommands, cfg.HoldNotices, cfg.CheckState = s.w.holding, s.w.holding, s.w.checks
	s.warnings.Reset()
	cfg.Logger = slog.New(slog.NewTextHandler(&s.warnings, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	if s.refused(state) {
		return
	}
	if state.Snapshot != nil {
		s.restore(cfg.Machine)
	}
	s.node, err = node.New(cfg, s, node.Stored{Instance: state.Header.Instance, Identity: state.Identity, Snapshot: state.Snapshot,
		HardState: state.HardState, Prev: state.Prev, Entries: state.Entries})
	require.NoError(s.w.t, err)
	s.flush()
}

func (s *server) instance() string { return "instance" + s.name + strings.Repeat("x", s.wipes) }

func (s *server) crash() {
	for _, other := range s.w.servers {
		other.unlink(s)
	}
	s.w.flight = slices.DeleteFunc(s.w.flight, func(m *wire.Message) bool { return m.From == s.id() })
	s.node, s.probed, s.held, s.frozen = nil, nil, false, false
	s.fs.Crash(rand.New(rand.NewPCG(1, 1)))
}

// flush is a turn of the loop.
func (s *server) flush() {
	if s.node == nil || s.frozen {
		return
	}
	if !s.held {
		probed := s.probed
		s.probed = nil
		for _, answer := range probed {
			answer() // it may begin another
		}
	}
	s.node.SetTime(s.w.now, s.w.wall.Add(s.w.now+s.skew))
	s.node.Tick()
	err := s.node.Flush()
	s.settleArrival()
	if err != nil {
		fmt.Fprintf(&s.w.out, "%s failed: %v\n", s.name, err)
		s.node.Stop("the server has failed")
		require.Zero(s.w.t, s.node.Pending(), "all are answered")
		s.crash()
		return
	}
	s.checkMark()
}

type caller int

// nobody's answers are not shown.
const nobody caller = 0

// Uptime implements node.Env: the time that passes is that of the transcript.
func (s *server) Uptime() (time.Duration, bool) { return uptime + s.w.now + s.ahead, true }

// uptime is for how long the servers' machines have been up when a transcript begins.
const uptime = time.Hour

// Late implements node.Env.
func (s *server) Late() bool { return s.late }

// Sent implements node.Env: here nothing waits.
func (s *server) Sent() {}

// Send implements node.Env.
func (s *server) Send(m *wire.Message) bool {
	if s.up[m.To] == nil {
		return false
	}
	s.w.flight = append(s.w.flight, m)
	return true
}

// Answer implements node.Env.
func (s *server) Answer(c node.Caller, result json.RawMessage, err *jsonrpc.Error) {
	if s.w.told != nil && c != nobody {
		require.False(s.w.t, s.w.told[c], "%v is answered twice", c)
		s.w.told[c] = true
		var opened struct{ Session uint64 }
		if json.Unmarshal(result, &opened) == nil && opened.Session > 0 && !slices.Contains(s.w.opened, opened.Session) {
			s.w.opened = append(s.w.opened, opened.Session)
		}
	}
	if s.w.answers != nil {
		s.w.answers[c] = fmt.Sprintf("%s %v", result, err)
	}
	switch {
	case c == nobody:
	case err != nil:
		fmt.Fprintf(&s.w.out, "%s answers %d: %d %s %s\n", s.name, c, err.Code, strings.ToValidUTF8(err.Message, "?"), err.Data)
	case len(result) > 10000:
		fmt.Fprintf(&s.w.out, "%s answers %d: %d bytes\n", s.name, c, len(result))
	default:
		fmt.Fprintf(&s.w.out, "%s answers %d: %s\n", s.name, c, result)
	}
}

// Reaches implements node.Env.
func (s *server) Reaches(c node.Caller) bool { return !s.w.unreached[c] }

// Save implements node.Env.
func (s *server) Save(r *wire.Record) (time.Duration, error) {
	if s.atDisk != nil {
		s.atDisk(r)
	}
	return 0, s.log.Append(r)
}

// Replace implements node.Env.
func (s *server) Replace(records ...*wire.Record) error { return s.log.Replace(records...) }

// BeginSnapshot implements node.Env: the file is there in the next turn.
func (s *server) BeginSnapshot(job *node.SnapshotJob) {
	r, err := s.log.BeginReplace()
	if err != nil {
		s.probed = append(s.probed, func() { s.node.SnapshotDone(job, err) })
		return
	}
	boots := s.boots
	s.probed = append(s.probed, func() {
		if s.boots != boots {
			return // it has crashed meanwhile
		}
		err := job.Write(r)
		if err == nil {
			err = s.commit(r)
		} else {
			s.log.Abort(r)
		}
		s.node.SnapshotDone(job, err)
		if dead := s.log.Err(); dead != nil {
			s.node.Fail(dead)
		}
	})
}

// SetPeers implements node.Env.
func (s *server) SetPeers(peers []node.Peer) {
	s.peers = peers
	maps.DeleteFunc(s.up, func(id uint64, _ *server) bool {
		return !slices.ContainsFunc(peers, func(p node.Peer) bool { return p.ID == id })
	})
}

// Park implements node.Env.
func (s *server) Park(c node.Caller, _ int) (node.Caller, bool) { return c, true }

// Probe implements node.Env: the answer comes at once.
func (s *server) Probe(token uint64, addr string) {
	i := slices.IndexFunc(s.w.servers, func(o *server) bool { return o.addr == addr && o.node != nil })
	if i < 0 {
		s.probed = append(s.probed, func() { s.node.Probed(token, node.Who{}, fmt.Errorf("nobody is there")) })
		return
	}
	to := s.w.servers[i]
	who := node.Who{Instance: to.instance(), Version: to.build, Level: wire.Level - to.behind}
	if identity, ok := to.node.Identity(); ok {
		who.ClusterID, who.NodeID = identity.ClusterID, identity.NodeID
	}
	s.probed = append(s.probed, func() { s.node.Probed(token, who, nil) })
}
